"""Windows of other features: who they are, and which of their windows a feature gets."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.lake import Lake
from storage.layout import Range
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import OtherFeature, other_feature
from tests.tasks.caches import LENGTH, Firings, sample, steps, work
from tests.tasks.drawing import WINDOW, Worded, draw, worded

BOUNDED = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def many(features: int, sequences: int = 60, seed: int = 1) -> Worded:
    """Features of many densities, each of which fires here and there."""
    chance = np.random.default_rng(seed)
    return worded(seed, sequences, chance.uniform(0.05, 0.6, features).tolist(), vocabulary=400)


def others_of(cache: Worded, feature: int, n: int, block: int) -> list[int]:
    """The others of a feature, in plain Python."""
    live = [f for f in range(cache.width) if cache.firings.get(f)]
    blocks = max(1, len(live) // block)
    mine = [
        f
        for place, f in enumerate(live)
        if place * blocks // len(live) == live.index(feature) * blocks // len(live)
    ]
    mine.sort(key=lambda f: (len(cache.firings[f]), f))
    groups = max(1, len(mine) // (n + 1))
    share = mine.index(feature) * groups // len(mine)
    group = sorted(f for place, f in enumerate(mine) if place * groups // len(mine) == share)
    place = group.index(feature)
    return (group[place + 1 :] + group[:place])[:n]


def tried(
    cache: Worded, kind: OtherFeature, features: Sequence[int] | None = None, **options: object
) -> list[dict]:
    """What is drawn in a lake of its own."""
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        cache.write(lake)
        return draw(lake, cache, [kind], features, **options)  # type: ignore[arg-type]


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 30), st.integers(0, 99), st.integers(3, 12))
@BOUNDED
def test_the_windows_are_those_of_others_of_similar_density(
    features: int, others: int, n: int, seed: int, block: int
) -> None:
    """Another of its group fires and the feature does not; where they have few such windows all are given."""
    cache = many(features, 20, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other_feature, "BLOCK", block)
        rows = tried(cache, OtherFeature(n=n, features=others))
    for feature in range(features):
        mine = [row for row in rows if row["feature"] == feature]
        if not cache.firings.get(feature):
            continue
        expected = others_of(cache, feature, others, block)
        windows = {
            other: {
                cache.text(s, p // WINDOW * WINDOW)
                for s, p in cache.firings[other]
                if cache.silent(feature, s, p // WINDOW * WINDOW)
            }
            for other in expected
        }
        assert min(n, len(set().union(*windows.values()))) == len(mine)
        for row in mine:
            assert row["other"] in expected
            assert cache.silent(feature, row["sequence"], row["start"])
            assert not cache.silent(row["other"], row["sequence"], row["start"])
            assert row["near"] is None is row["distance"]


def test_each_feature_is_another_ones_as_often_as_any() -> None:
    """So that the windows of features and those of their others are the same ones on the whole."""
    cache = many(70, 120)
    rows = tried(cache, OtherFeature(n=40, features=4))
    pairs = {(row["feature"], row["other"]) for row in rows}
    live = [feature for feature, places in cache.firings.items() if places]
    assert {4} == set(Counter(feature for feature, _ in pairs).values())
    assert dict.fromkeys(live, 4) == Counter(other for _, other in pairs)
    ratios = [len(cache.firings[feature]) / len(cache.firings[other]) for feature, other in pairs]
    assert 1.6 > np.exp(np.abs(np.log(ratios)).mean())


def test_the_windows_of_another_are_drawn_uniformly() -> None:
    """Of all strengths and from all over the corpus; two features of a group get different ones of a third."""
    firings: Firings = defaultdict(dict)
    for feature in range(3):
        for number in range(200):
            firings[feature][3 * number + feature, 1] = float(number + 1)
    tokens = {(s, p): s * LENGTH + p for s in range(600) for p in range(LENGTH)}
    rows = tried(Worded(600, 3, dict(firings), tokens=tokens), OtherFeature(n=80, features=2))
    of = {
        feature: [row["sequence"] for row in rows if (row["feature"], row["other"]) == (feature, 2)]
        for feature in (0, 1)
    }
    for sequences in of.values():
        assert 40 == len(sequences)
        # The mean of 40 of 200 at random is 300 of 600, with a standard error of 25.
        assert 200 < np.mean(sequences) < 400
    assert len({*of[0]} & {*of[1]}) < 20


def test_a_frequent_other_is_drawn_from_a_part_of_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sequences at random, all over the corpus, which are enough; the same whatever else is chosen."""
    firings: Firings = {
        feature: {(3 * number + feature, 1): 1.0 for number in range(1_000)} for feature in range(3)
    }
    tokens = {(s, p): s * LENGTH + p for s in range(3_000) for p in range(LENGTH)}
    cache = Worded(3_000, 3, firings, tokens=tokens)
    monkeypatch.setattr(other_feature, "WINDOWS", 100)
    monkeypatch.setattr(other_feature, "FIRINGS", 1)
    rows = tried(cache, OtherFeature(n=60, features=2))
    assert {30} == set(Counter((row["feature"], row["other"]) for row in rows).values())
    # The mean of 180 at random is 1,500 of 3,000, with a standard error of 65.
    assert 1_250 < np.mean([row["sequence"] for row in rows]) < 1_750
    assert [row for row in rows if row["feature"] == 1] == tried(cache, OtherFeature(n=60, features=2), [1])


def test_another_that_often_fires_along_gives_its_share() -> None:
    """Of its windows only those count in which the feature is silent, wherever in its order they come."""
    firings: Firings = defaultdict(dict)
    for sequence in range(600):
        feature, along = sequence % 3, sequence % 10
        firings[feature][sequence, 1] = 1.0
        if feature == 1 and along:
            firings[0][sequence, 2] = 1.0
    tokens = {(s, p): s * LENGTH + p for s in range(600) for p in range(LENGTH)}
    rows = tried(Worded(600, 3, dict(firings), tokens=tokens), OtherFeature(n=20, features=2), [0])
    assert {1: 10, 2: 10} == Counter(row["other"] for row in rows)


def test_few_firings_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are read a few at a time where they fire often."""
    cache = many(30)
    rows = tried(cache, OtherFeature(n=20, features=5))
    monkeypatch.setattr(other_feature, "AT_ONCE", 100)
    assert rows == tried(cache, OtherFeature(n=20, features=5))


def test_neither_the_chosen_features_nor_threads_matter() -> None:
    """A feature gets the same windows alone and among all others."""
    cache = many(30)
    rows = tried(cache, OtherFeature(n=20, features=5))
    assert rows == tried(cache, OtherFeature(n=20, features=5), threads=3)
    for chosen in ([4], [0, 17, 29]):
        alone = tried(cache, OtherFeature(n=20, features=5), chosen)
        assert [row for row in rows if row["feature"] in chosen] == alone


@pytest.mark.parametrize("windows", ["grid", "peak"])
@pytest.mark.parametrize("apart", ["window", "document"])
def test_contexts_hold_the_activations_of_the_other(
    tmp_path: Path, windows: Literal["grid", "peak"], apart: Literal["window", "document"]
) -> None:
    """The other fires there as in the cache, the feature nowhere, and nothing is shared with the explainer."""
    cache = many(12, 150, 3)
    asked = Sampling(
        window=WINDOW,
        windows=windows,
        apart=apart,
        explain=20,
        per_decile=2,
        min_firings=20,
        negatives=(OtherFeature(n=30, features=3),),
    )
    lake, part, step = Lake(tmp_path.as_posix()), Range(0, cache.width), steps()[-1]
    cache.write(lake)
    sample(work(lake, asked), [part], range(cache.width))
    lake.commit(step, [part])
    rows = lake.read("contexts", lake.parts(step, "contexts")).to_pylist()
    shown: dict[int, list[tuple[int, int]]] = defaultdict(list)
    documents = defaultdict(set)
    for row in rows:
        tokens = [(row["sequence"], row["start"] + place) for place in range(WINDOW)]
        touched = {
            document
            for first, end, document in cache.segments(row["sequence"])
            if first < row["start"] + WINDOW and end > row["start"]
        }
        assert not set(tokens) & set(shown[row["feature"]])
        shown[row["feature"]] += tokens
        documents[row["feature"], row["role"]] |= touched
        if row["kind"] == "activating":
            assert row["other"] is None is row["other_activations"]
            continue
        assert {0.0} == set(row["activations"])
        fires = cache.firings[row["other"]]
        assert [fires.get(token, 0) for token in tokens] == row["other_activations"]
        assert any(row["other_activations"])
        if windows == "peak" and apart == "window":
            place = min(int(np.argmax(row["other_activations"])), WINDOW // 2)
            assert row["start"] in {0, LENGTH - WINDOW} or place == WINDOW // 2
    sampled = {row["feature"] for row in rows}
    assert len(sampled) > 6
    assert {30} == set(Counter(row["feature"] for row in rows if row["other"] is not None).values())
    if apart == "document":
        assert all(not documents[f, "explain"] & documents[f, "score"] for f in sampled)
