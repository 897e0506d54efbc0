"""Silent windows from anywhere: how many draws they take."""

from pathlib import Path

import pytest

from storage.lake import Lake
from storage.layout import Range
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import Random, Silent
from tasks.sampling.silent_windows import SilentWindows
from tests.tasks.caches import drawn, sample, steps, work


def test_documents_apart_take_no_more_statements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many more windows are drawn as lie in documents of the other role: no feature is gone through alone."""
    alone: list[int] = []
    all_silent = SilentWindows.all_silent

    def counted(self: SilentWindows, feature: int, *arguments: object, **options: object) -> object:
        alone.append(feature)
        return all_silent(self, feature, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(SilentWindows, "all_silent", counted)
    cache, lake = drawn(3, 900, [0.2, 0.3, 0.4, 0.5], documents=(32,)), Lake(tmp_path.as_posix())
    cache.write(lake)
    kinds = (Random(n=25), Silent(n=25))
    asked = Sampling(window=4, explain=20, per_decile=2, min_firings=20, negatives=kinds, contrast=kinds)
    sample(work(lake, asked), [Range(0, 4)], range(4))
    lake.commit(steps()[-1], [Range(0, 4)])
    rows = lake.read("samples", lake.parts(steps()[-1], "samples")).to_pylist()
    assert ["document"] * 4 == [row["apart"] for row in rows]
    assert [(50, 50)] * 4 == [(row["negatives"], row["contrast"]) for row in rows]
    assert [] == alone
