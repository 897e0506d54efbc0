"""gloss' own path from a cache to contexts and samples, span by span."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import child
from benchmarks.meter import Meter
from benchmarks.sample.cases import Span
from benchmarks.sample.sampling import SampleWork, cut, sample, work
from storage.lake import Lake
from storage.layout import Range


def spans(lake: Lake, request: Mapping[str, Any]) -> list[Span]:
    """The spans that a request names; all that the flow cuts for its workers where it names none."""
    if request["spans"] is None:
        return cut(lake, request["sequences"], request["workers"])
    return [[Range(*part) for part in span] for span in request["spans"]]


def sampled(asked: SampleWork, spans: Sequence[Span], workers: int) -> list[float]:
    """Sample all features of some spans, as many spans at a time as there are workers; the seconds of each."""

    def timed(span: Span) -> float:
        began = time.perf_counter()
        sample(asked, span)
        return time.perf_counter() - began

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(timed, spans))


def counted(asked: SampleWork, buckets: Iterable[Range]) -> dict[str, int]:
    """Features looked at, features sampled, contexts."""
    lake = asked.lake
    samples = lake.read("samples", [lake.path(asked.step.part("samples", part)) for part in buckets])
    contexts = sum(sum(samples[role].to_pylist()) for role in ("explain", "score", "negatives"))
    return {
        "features": samples.num_rows,
        "sampled": samples["status"].to_pylist().count("sampled"),
        "contexts": contexts,
    }


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Sample the request's spans; before that the bucket `warm` alone, which reads what a process reads once.

    Says how long that took (`once_s`) apart from what is measured.
    """
    os.environ.update(request["environment"])
    lake = Lake(request["lake"])
    asked = work(lake, request["sequences"], request["sequence"], request["sampling"], request["name"])
    with lake.connect() as connection:
        connection.execute("select $given", {"given": [0]})  # the first one loads libraries, such as pandas
    once = sampled(asked, [[Range(*request["warm"])]], 1) if request["warm"] else []
    with Meter() as meter:
        taken = spans(lake, request)
        seconds = sampled(asked, taken, request["workers"])
    buckets = [part for span in taken for part in span]
    return {**meter.used(), "once_s": sum(once), "seconds": seconds, **counted(asked, buckets)}


if __name__ == "__main__":
    child.serve(answer)
