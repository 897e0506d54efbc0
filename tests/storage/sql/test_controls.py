"""The shuffled control: who is judged with whose explanation."""

from itertools import pairwise
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from storage import query
from storage.lake import Lake
from storage.tables import EXPLANATIONS
from tests.storage.sql.test_scores import record

WIDTH = 100
BOUNDED = settings(max_examples=20, deadline=None)
FEATURES = st.dictionaries(st.integers(0, WIDTH - 1), st.sampled_from(["ok", "failed"]), max_size=30)

Pairs = dict[int, int]


def controls(features: dict[int, str], n: int, seed: int = 22, cuts: tuple[int, ...] = (0, WIDTH)) -> Pairs:
    """Whose explanation each feature is given, by buckets."""
    rows = [
        record(EXPLANATIONS, feature=feature, replicate=0, status=status, text=f"about {feature}")
        for feature, status in sorted(features.items())
    ]
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        lake.write(EXPLANATIONS, "e", EXPLANATIONS.rows(rows))
        result: list = []
        with lake.connect() as connection:
            for first, end in pairwise(cuts):
                asked = {"n": n, "seed": seed, "first": first, "end": end}
                result += query.records(connection, "controls", explanations=[lake.path("e")], **asked)
    assert all(row["text"] == f"about {row['explanation_of']}" for row in result)
    assert len(result) == len({row["feature"] for row in result})
    return {row["feature"]: row["explanation_of"] for row in result}


@given(FEATURES, st.integers(1, 40))
@BOUNDED
def test_explanations_go_round_in_a_ring(features: dict[int, str], n: int) -> None:
    """At most n explained features, each with another one's explanation, and each explanation given once."""
    explained = {feature for feature, status in features.items() if status == "ok"}
    pairs = controls(features, n)
    size = min(n, len(explained))
    assert (size if size > 1 else 0) == len(pairs)
    assert set(pairs) == set(pairs.values()) <= explained
    assert all(own != other for own, other in pairs.items())


@given(FEATURES, st.integers(1, 40), st.lists(st.integers(1, WIDTH - 1), max_size=4))
@BOUNDED
def test_buckets_do_not_change_the_ring(features: dict[int, str], n: int, cuts: list[int]) -> None:
    """The same pairs however features are cut into buckets."""
    assert controls(features, n) == controls(features, n, cuts=(0, *sorted(cuts), WIDTH))


def test_the_seed_decides_the_ring() -> None:
    """Another seed pairs otherwise."""
    features = dict.fromkeys(range(40), "ok")
    assert controls(features, 40, seed=1) == controls(features, 40, seed=1)
    assert controls(features, 40, seed=1) != controls(features, 40, seed=2)


def test_a_single_explanation_has_no_control() -> None:
    """There is no other one to give."""
    assert {} == controls({3: "ok", 4: "failed"}, 10)


def drawn(*rows: tuple[int, int, bool]) -> list[tuple[int, int, int]]:
    """Who is judged with whose explanation, of explanations by feature, replicate and whether they are chosen."""
    table = EXPLANATIONS.rows(
        [
            record(EXPLANATIONS, feature=feature, replicate=replicate, chosen=chosen, status="ok", text="x")
            for feature, replicate, chosen in rows
        ]
    )
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        lake.write(EXPLANATIONS, "e", table)
        asked = {"n": 40, "seed": 22, "first": 0, "end": WIDTH}
        with lake.connect() as connection:
            result = query.records(connection, "controls", explanations=[lake.path("e")], **asked)
    names = ("feature", "replicate", "explanation_of")
    return [tuple(int(str(row[name])) for name in names) for row in result]  # type: ignore[misc]


def test_only_chosen_explanations_go_round() -> None:
    """The best of each feature's replicates make one ring, whatever their numbers are."""
    rows = [(feature, number, number == feature % 3) for feature in range(9) for number in range(3)]
    result = drawn(*rows)
    assert [(feature, feature % 3) for feature in range(9)] == [pair[:2] for pair in result]
    assert {*range(9)} == {other for _, _, other in result}


def test_replicates_that_are_all_judged_make_a_ring_each() -> None:
    """Every explanation of a feature is paired once."""
    result = drawn(*[(feature, number, True) for feature in range(9) for number in range(2)])
    assert [(feature, number) for feature in range(9) for number in range(2)] == [pair[:2] for pair in result]
    assert all(own != other for own, _, other in result)
