"""Control tokens in text are broken up, and nothing else is changed."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts.special_tokens import broken_up, is_known
from tests.tasks.hostile import CONTROL, tokenizer

TOKENIZER = tokenizer()
SPECIAL = {TOKENIZER.token_to_id(token) for token in CONTROL}


@pytest.mark.parametrize("token", CONTROL)
def test_a_control_token_is_broken_up_by_one_space(token: str) -> None:
    """It stays legible, and a real tokenizer that has it as a special token finds it no more."""
    text = f"so{token}it{token}{token} is"
    assert SPECIAL & {*TOKENIZER.encode(text).ids}
    broken = broken_up(text)
    assert not SPECIAL & {*TOKENIZER.encode(broken).ids}
    assert text.replace(" ", "") == broken.replace(" ", "")
    assert len(text) + 3 == len(broken)
    assert is_known(token)


@given(st.lists(st.one_of(st.sampled_from(CONTROL), st.text("<>|[]/ \uff5csimthnkeo_", max_size=5))))
def test_nothing_is_left_whatever_stands_beside_it(pieces: list[str]) -> None:
    """Nested and joined ones too; and what has been broken up is not broken again."""
    broken = broken_up("".join(pieces))
    assert not SPECIAL & {*TOKENIZER.encode(broken).ids}
    assert broken == broken_up(broken)


@pytest.mark.parametrize(
    "text",
    [
        "a < b > c",
        "Map<K, V> and List<S>",
        "<div><b>bold</b></div>",
        "x <| f |> g",
        "[1, 2], [a] and [NOTE]",
        "<<marked>> and << a shift",
        "if a[i] >> 3 << 2:",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    """Requests that hold none are the same as ever, and so is what their replies are kept by."""
    assert text == broken_up(text)


def test_marks_stay_marks() -> None:
    """A marked word has the form of a control token with the signs around it."""
    assert "I << think>> so" == broken_up("I <<think>> so")


def test_a_tokenizer_s_own_tokens_are_broken_up() -> None:
    """Of any form; the longest of several; one of a single sign has no inside."""
    own = {"@@end", "@@end@@", "#", "endo"}
    assert "a@@ end@@b e ndo" == broken_up("a@@end@@b endo", own)
    assert "#" == broken_up("#", own)


def test_shipped_prompts_hold_none() -> None:
    """So that what they are hashed into is what it was."""
    texts = [
        file.read_text(encoding="utf-8")
        for package in ("tasks.explainers", "tasks.scorers")
        for file in files(package).iterdir()
        if file.name.endswith((".prompt.txt", ".shots.yaml"))
    ]
    assert len(texts) > 20
    assert texts == [broken_up(text) for text in texts]
