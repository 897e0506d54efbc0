"""Where windows begin: those in which the feature fires, another does, or none does."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import ValidationError

from storage.lake import Lake
from storage.layout import Range
from tasks.llm.sentence_transformers import SentenceModel
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import (
    Cooccurring,
    OtherFeature,
    Random,
    SameToken,
    Silent,
    Similar,
    SimilarText,
)
from tests.tasks.caches import LENGTH, Firings, sample, steps, work
from tests.tasks.drawing import Worded, embedded, toy_units

SEQUENCES, WIDTH, WINDOW = 1_200, 4, 4


def uniform(documents: tuple[int, ...]) -> Worded:
    """Features that fire on one token of half the sequences, any token alike, each with a neighbour in its sequence."""
    chance, firings = np.random.default_rng(5), defaultdict(dict)
    for sequence in range(SEQUENCES):
        place = sequence, int(chance.integers(LENGTH))
        for feature in (sequence % WIDTH, (sequence + 1) % WIDTH):
            firings[feature][place] = float(chance.integers(1, 99))
    fired: Firings = dict(firings)
    words = {(s, p): int(chance.integers(60)) for s in range(SEQUENCES) for p in range(LENGTH)}
    near = {f: [(other, 1 / (1 + other)) for other in range(WIDTH) if other != f] for f in range(WIDTH)}
    return Worded(SEQUENCES, WIDTH, fired, documents=documents, tokens=words, neighbours=near)


@pytest.mark.parametrize("windows", ["grid", "peak"])
@pytest.mark.parametrize(("apart", "documents"), [("window", (48,)), ("document", (13, 40, 9, 21))])
def test_the_start_of_a_window_does_not_tell_its_kind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    windows: Literal["grid", "peak"],
    apart: Literal["window", "document"],
    documents: tuple[int, ...],
) -> None:
    """Whatever is in them: they begin where windows around peaks would, inside of documents where those are apart."""
    asked = Sampling(
        window=WINDOW,
        windows=windows,
        apart=apart,
        explain=10,
        per_decile=15,
        min_firings=20,
        negatives=(
            Random(n=120),
            Silent(n=120),
            OtherFeature(n=90, features=3),
            Similar(n=90, neighbours=3),
            Cooccurring(n=90, neighbours=2),
            SameToken(n=90),
            SimilarText(n=90),
        ),
    )
    cache, lake, part, step = uniform(documents), Lake(tmp_path.as_posix()), Range(0, WIDTH), steps()[-1]
    cache.write(lake)
    monkeypatch.setattr(SentenceModel, "units", lambda _, texts: toy_units(cache, texts))
    sample(embedded(lake, cache, work(lake, asked)), [part], range(WIDTH))
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
    assert {
        "random",
        "silent",
        "other_feature",
        "similar",
        "cooccurring",
        "same_token",
        "similar_text",
    } == set(starts)
    n = mine.total()
    assert n > 500
    for kind in starts.values():
        others, m = Counter(kind), len(kind)
        assert m > 300
        for start in mine | others:
            share = (mine[start] + others[start]) / (n + m)
            error = np.sqrt(share * (1 - share) * (1 / n + 1 / m))
            assert abs(mine[start] / n - others[start] / m) < 4 * error


@pytest.mark.parametrize("key", ["negatives", "contrast"])
def test_the_papers_windows_are_refused_around_peaks(key: str) -> None:
    """They begin at one place; on the grid they are drawn."""
    kind = Random(drawn="paper")
    with pytest.raises(ValidationError, match=r"cannot place the windows of random.*set windows: grid"):
        Sampling.model_validate({"windows": "peak", key: (kind,)})
    Sampling.model_validate({key: (kind,)})
