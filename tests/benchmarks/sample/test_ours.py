"""Which features a run of the benchmark samples, and in which spans."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.sample import bench, ours, sampling, wide, workload
from benchmarks.sample.bench import Cache
from benchmarks.sample.firings import Coder
from benchmarks.sample.sampling import cut, firing_counts
from flows import parts
from storage.lake import Lake
from storage.layout import Range, ranges

CODER = Coder(width=400, per_token=4, sequence=64)
SEQUENCES = 32


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """One whose features fire 20 times on average."""
    folder = tmp_path_factory.mktemp("cache")
    request = {
        "folder": str(folder),
        "coder": vars(CODER),
        "sizes": [SEQUENCES],
        "shard": 16,
        "splits": False,
    }
    made = workload.answer(request | {"threads": 1})["firings"]
    return Cache(folder, CODER, dict(zip([SEQUENCES], made, strict=True)))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets of 10 features; a span takes up some 600 firings."""
    monkeypatch.setattr(sampling, "BUCKET", 10)
    monkeypatch.setattr(parts, "ROW_GROUP", 150)


def answer(request: Mapping[str, object]) -> dict[str, Any]:
    """What a process answers, through JSON on both ways."""
    return json.loads(json.dumps(ours.answer(json.loads(json.dumps(request)))))


def test_a_request_that_names_no_spans_is_for_all_features(cache: Cache) -> None:
    """In spans of several buckets, of which there are as many as a run would have; each is timed."""
    result = answer(bench.asked(cache, SEQUENCES, None))

    every = cut(Lake(cache.lake), SEQUENCES, 1)
    assert ranges(400, 10) == [bucket for span in every for bucket in span]
    assert 400 == result["features"]
    assert [True] * len(every) == [second > 0 for second in result["seconds"]]
    assert 5 < len(every) < 20


def test_a_request_that_names_spans_is_for_these(cache: Cache) -> None:
    """Apart from what is sampled before, to read what a process reads once."""
    request = bench.asked(cache, SEQUENCES, [ranges(30, 10), [Range(200, 210)]])

    result = answer(request | {"warm": Range(390, 400), "name": "some"})

    assert (40, 2) == (result["features"], len(result["seconds"]))
    assert result["once_s"] > 0
    part = sampling.work(Lake(cache.lake), SEQUENCES, 64, {}, "some").step.folder("samples")
    written = {Range.of(path) for path in Lake(cache.lake).files(part)}
    assert {*ranges(30, 10), Range(200, 210), Range(390, 400)} == written


@pytest.mark.parametrize("n", [1, 3])
def test_the_densest_feature_is_in_the_first_span(cache: Cache, n: int) -> None:
    """Others are spans of a run too, and the bucket that is sampled before is in none of them."""
    lake = Lake(cache.lake)

    warm, chosen = wide._chosen(cache, SEQUENCES, n)

    every = cut(lake, SEQUENCES, 1)
    assert n == len(chosen) == sum(span in every for span in chosen)
    assert chosen[0][0].first <= firing_counts(lake, SEQUENCES).argmax() < chosen[0][-1].end
    assert not any(warm in span for span in chosen)
