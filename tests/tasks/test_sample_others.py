"""What is read of other features that fire in contexts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage import query
from storage.lake import Lake
from storage.layout import Range
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import OtherFeature, Similar
from tasks.sampling.negatives.base import BLOCK, blocks
from tests.tasks.caches import sample, work
from tests.tasks.drawing import WINDOW, worded

CACHE = worded(5, 4 * BLOCK, [0.1] * 12)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """The parameters of each statement that gives rows, by its name."""
    seen: dict[str, list[dict[str, Any]]] = {}
    rows = query.rows

    def counted(connection: Any, name: str, *arguments: Any, **parameters: Any) -> pa.Table:
        seen.setdefault(name, []).append(parameters)
        return rows(connection, name, *arguments, **parameters)

    monkeypatch.setattr(query, "rows", counted)
    return seen


def test_only_parts_that_hold_a_context_are_read(
    tmp_path: Path, reads: dict[str, list[dict[str, Any]]]
) -> None:
    """A search of a quarter of the corpus reads no more of it for the activations of the neighbours that it found."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake, shards=4)
    kinds = (Similar(n=5, search=BLOCK), OtherFeature(n=5, features=2))
    asked = work(lake, Sampling(window=WINDOW, explain=10, per_decile=1, negatives=kinds, min_firings=20))
    sample(asked, [Range(0, CACHE.width)], [0])
    [searched] = blocks(CACHE.sequences, BLOCK, asked.seed)
    [read] = reads["sample_other_firings"]
    assert [Range(searched * BLOCK, (searched + 1) * BLOCK)] == [
        Range.of(part) for part in read["activations"]
    ]


FIRINGS = [len(CACHE.firings[feature]) for feature in range(CACHE.width)]


@pytest.mark.parametrize(
    ("most", "reads_of_features", "reads_of_others"),
    [(sum(FIRINGS), 1, 0), (FIRINGS[1] + FIRINGS[7], 3, 2), (max(FIRINGS), 4, 2)],
)
def test_no_more_firings_are_held_than_may_be(
    tmp_path: Path,
    reads: dict[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    reads_of_features: int,
    reads_of_others: int,
) -> None:
    """Of few chosen features and others, of these features alone, or of one at a time: not those of all features."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    kinds = (OtherFeature(n=5, features=2),)
    asked = work(lake, Sampling(window=WINDOW, explain=10, per_decile=1, negatives=kinds, min_firings=20))
    monkeypatch.setattr("tasks.sample.MAX_FIRINGS", most)
    monkeypatch.setattr("tasks.sampling.work.GROUP_FEATURES", 6)
    sample(asked, [Range(0, 6), Range(6, 12)], [1, 7])
    assert reads_of_features == len(reads["sample_firings"])
    assert reads_of_others == len(reads.get("sample_other_firings", []))


@pytest.mark.parametrize("chosen", [range(12), [1, 7]])
def test_firings_of_others_are_read_with_those_of_the_features(
    tmp_path: Path,
    reads: dict[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    chosen: Sequence[int],
) -> None:
    """Once for a span, however many groups of buckets it is drawn in and however few features are chosen."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    kinds = (OtherFeature(n=5, features=2),)
    asked = work(lake, Sampling(window=WINDOW, explain=10, per_decile=1, negatives=kinds, min_firings=20))
    monkeypatch.setattr("tasks.sampling.work.GROUP_FEATURES", 3)
    sample(asked, [Range(first, first + 3) for first in range(0, 12, 3)], chosen)
    assert 1 == len(reads["sample_firings"])
    assert "sample_other_firings" not in reads


def test_features_are_ranked_once_for_all_buckets(
    tmp_path: Path, reads: dict[str, list[dict[str, Any]]]
) -> None:
    """By density, for windows of other features of whatever role."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    kinds = (OtherFeature(n=5, features=2),)
    options = {"window": WINDOW, "explain": 10, "per_decile": 1, "min_firings": 20}
    asked = work(lake, Sampling(negatives=kinds, contrast=kinds, **options))  # type: ignore[arg-type]
    sample(asked, [Range(first, first + 3) for first in range(0, 12, 3)], range(CACHE.width), together=1)
    assert 1 == len(reads["density_groups"])
    assert 4 == len(reads["sample_counts"])
