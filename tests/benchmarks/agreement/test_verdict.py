"""The reader that judges for both systems."""

import pytest

from benchmarks.agreement.delphi_peer import examples
from benchmarks.agreement.verdict import verdict

EXPLANATION = 'Nearly always on "light", "-house-".'


def fits(shown: list[str]) -> float:
    return sum(verdict(EXPLANATION, text) for text in shown) / len(shown)


def test_it_reads_and_errs_on_one_in_ten() -> None:
    """Of texts that hold a piece of the explanation nine tenths fit, of others one."""
    assert 0.85 < fits([f"a house, number {i}" for i in range(1000)]) < 0.95
    assert 0.05 < fits([f"a hut, number {i}" for i in range(1000)]) < 0.15


def test_where_anything_is_marked_only_marks_count() -> None:
    """Half of them must fit; marks around no text are none."""
    assert fits([f"a <<house>> in the light, number {i}" for i in range(500)]) > 0.8
    assert fits([f"a house in <<the>> light, number {i}" for i in range(500)]) < 0.2
    assert fits([f"a house in <<>>the light, number {i}" for i in range(500)]) > 0.8


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a⏎b", "a\nb"),
        ("⇥x␍⏎", "\tx\r\n"),
        ("‹‹<<b>>", "<<<<b>>"),
        ("a < bos>", "a <bos>"),
        ("ab", "ab<<>>"),
        ("<<‹>>b", "<<<>>b"),
    ],
)
def test_signs_of_both_systems_are_read_alike(ours: str, theirs: str) -> None:
    """Line breaks and the like as what they stand for."""
    for number in range(50):
        assert verdict(f"{EXPLANATION}{number}", ours) == verdict(f"{EXPLANATION}{number}", theirs)


def test_a_text_that_differs_in_one_letter_changes_verdicts() -> None:
    """Two systems that show different texts do not agree by chance."""
    first, second = ([verdict(f"{EXPLANATION}{i}", text) for i in range(500)] for text in ("a hut", "a hat"))
    assert 50 < sum(a != b for a, b in zip(first, second, strict=True)) < 150


def test_examples_of_several_lines_are_told_apart() -> None:
    """delphi numbers them from 0 and breaks their lines as the text does."""
    assert ["a\nb\n", "", "\n<<c>>"] == examples("Example 0: a\nb\n\nExample 1: \nExample 2: \n<<c>>\n")
