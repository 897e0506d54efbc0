"""Where windows begin: those in which the feature fires, another does, or none does."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from storage.lake import Lake
from storage.layout import Range
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import OtherFeature, Random, Silent
from tests.tasks.caches import LENGTH, Cache, Firings, sample, steps, work

SEQUENCES, WIDTH, WINDOW = 1_200, 4, 4


def uniform(documents: tuple[int, ...]) -> Cache:
    """Features that fire on one token of some sequences, any token alike."""
    chance, firings = np.random.default_rng(5), defaultdict(dict)
    for sequence in range(SEQUENCES):
        firings[sequence % WIDTH][sequence, int(chance.integers(LENGTH))] = float(chance.integers(1, 99))
    fired: Firings = dict(firings)
    return Cache(SEQUENCES, WIDTH, fired, documents=documents)


@pytest.mark.parametrize("windows", ["grid", "peak"])
@pytest.mark.parametrize(("apart", "documents"), [("window", (48,)), ("document", (13, 40, 9, 21))])
def test_the_start_of_a_window_does_not_tell_its_kind(
    tmp_path: Path,
    windows: Literal["grid", "peak"],
    apart: Literal["window", "document"],
    documents: tuple[int, ...],
) -> None:
    """Silent windows begin where windows around peaks would, inside of documents where those are apart."""
    asked = Sampling(
        window=WINDOW,
        windows=windows,
        apart=apart,
        explain=10,
        per_decile=15,
        min_firings=20,
        negatives=(Random(n=150), Silent(n=150), OtherFeature(n=90, features=3)),
    )
    cache, lake, part, step = uniform(documents), Lake(tmp_path.as_posix()), Range(0, WIDTH), steps()[-1]
    cache.write(lake)
    sample(work(lake, asked), [part], range(WIDTH))
    lake.commit(step, [part])
    starts = defaultdict(list)
    for row in lake.read("contexts", lake.parts(step, "contexts")).to_pylist():
        starts[row["kind"]].append(row["start"])
        if windows == "grid":
            assert 0 == row["start"] % WINDOW
        elif apart == "document":
            end = row["start"] + WINDOW
            assert any(
                first <= row["start"] and end <= last for first, last, _ in cache.segments(row["sequence"])
            )
    mine = Counter(starts.pop("activating"))
    assert {"random", "silent", "other_feature"} == set(starts)
    n = mine.total()
    assert n > 500
    for kind in starts.values():
        others, m = Counter(kind), len(kind)
        assert m > 300
        for start in mine | others:
            share = (mine[start] + others[start]) / (n + m)
            error = np.sqrt(share * (1 - share) * (1 / n + 1 / m))
            assert abs(mine[start] / n - others[start] / m) < 4 * error
