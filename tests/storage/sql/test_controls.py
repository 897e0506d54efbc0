"""The shuffled control: who is judged with whose explanation."""

from itertools import pairwise
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import EXPLANATIONS
from tasks.controls import UNEXPLAINED, Controls, explanations
from tests.storage.sql.test_scores import record

WIDTH = 100
BOUNDED = settings(max_examples=20, deadline=None)
FEATURES = st.dictionaries(st.integers(0, WIDTH - 1), st.sampled_from(["ok", "failed"]), max_size=30)

Pairs = dict[int, int]


def judged(features: dict[int, str], asked: Controls, seed: int, cuts: tuple[int, ...]) -> list[dict]:
    """What the features are judged with, by buckets."""
    step = Step("explanations", "toy/e", ("explanations",), {}, 1)
    buckets = [Range(first, end) for first, end in pairwise(cuts) if first < end]
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        for bucket in buckets:
            rows = [
                record(EXPLANATIONS, feature=feature, replicate=0, status=status, text=f"about {feature}")
                for feature, status in sorted(features.items())
                if bucket.first <= feature < bucket.end
            ]
            lake.write(EXPLANATIONS, step.part("explanations", bucket), EXPLANATIONS.rows(rows))
        lake.commit(step, buckets)
        return [row for bucket in buckets for row in explanations(lake, step, bucket, asked, seed)]


def controls(features: dict[int, str], n: int, seed: int = 22, cuts: tuple[int, ...] = (0, WIDTH)) -> Pairs:
    """Whose explanation each feature is given."""
    rows = judged(features, Controls(shuffled=n), seed, cuts)
    own = {row["feature"]: row for row in rows if row["control"] == "none"}
    assert {feature for feature, status in features.items() if status == "ok"} == set(own)
    assert all(row["explanation_of"] == feature for feature, row in own.items())
    result = [row for row in rows if row["control"] == "shuffled"]
    assert len(own) + len(result) == len(rows)
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


@given(FEATURES, st.integers(1, 40), st.lists(st.integers(1, WIDTH - 1), max_size=4))
@BOUNDED
def test_the_features_of_the_ring_are_judged_without_an_explanation(
    features: dict[int, str], n: int, cuts: list[int]
) -> None:
    """As many of them as are asked for, each once, with a text that is the same for all."""
    rows = judged(features, Controls(unexplained=n), 22, (0, *sorted(cuts), WIDTH))
    result = [row for row in rows if row["control"] != "none"]
    assert {("unexplained", UNEXPLAINED)} >= {(row["control"], row["text"]) for row in result}
    assert all(row["explanation_of"] == row["feature"] for row in result)
    assert set(controls(features, n)) == {row["feature"] for row in result}
    assert len(result) == len({row["feature"] for row in result})


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
        with lake.connect() as connection:
            result = query.records(connection, "controls", explanations=[lake.path("e")], n=40, seed=22)
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
