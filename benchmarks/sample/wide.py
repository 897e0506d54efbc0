"""gloss on a cache of very many features: time, memory, and the bytes that are read from S3."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from benchmarks import child
from benchmarks.command import say
from benchmarks.sample.bench import Bench, Cache, Spent, asked
from benchmarks.sample.cases import READ, SEQUENCE, Span, Wide, spread
from benchmarks.sample.firings import Coder
from benchmarks.sample.needed import needed
from benchmarks.sample.s3 import Served, served
from benchmarks.sample.sampling import cached, cut, firing_counts
from storage.lake import Lake
from storage.layout import Range


class Chosen(NamedTuple):
    """Which features are sampled."""

    warm: Range
    """A bucket of none of the spans, which is sampled before them."""
    spans: list[Span]
    """The first of them has the densest feature."""


def measure(bench: Bench, case: Wide) -> None:
    """Measure the case."""
    coder = Coder(case.width, case.per_token, SEQUENCE)
    with bench.cache(coder, case.sizes) as cache:
        chosen = _chosen(cache, case.sizes[-1], case.spans)
        grown = _growth(bench, case, cache, chosen)
        _from_s3(bench, case, cache, chosen, grown[case.sizes[-1]])
        wide = _whole(cache, case.sizes[1], chosen, grown[case.sizes[1]])
    with bench.cache(replace(coder, width=case.narrow), case.sizes[1:2]) as cache:
        _features(bench, case, cache, wide)


def _chosen(cache: Cache, sequences: int, n: int) -> Chosen:
    """Spans as the flow cuts them at some size: that of the densest feature, and others at equal distances."""
    lake = Lake(cache.lake)
    every = cut(lake, sequences, 1)
    densest = int(firing_counts(lake, sequences).argmax())
    begin = next(i for i, span in enumerate(every) if densest < span[-1].end)
    *spans, other = spread(every, n + 1, begin)
    return Chosen(other[0], spans)


def _growth(bench: Bench, case: Wide, cache: Cache, chosen: Chosen) -> dict[int, list[Spent]]:
    """The same features of the cache and of its beginnings, in turns; what each run used, by sequences."""
    spans, n = chosen.spans, len(chosen.spans)
    spent: dict[int, list[Spent]] = defaultdict(list)
    for turn in range(case.rounds):
        for size in case.sizes[:: 1 if turn % 2 == 0 else -1]:
            say(f"{cache.firings[size]:,} firings, {n} spans, round {turn + 1} of {case.rounds}")
            spent[size].append(bench.gloss(cache, size, spans, warm=chosen.warm))
    largest = spent[case.sizes[-1]]
    bench.note("peak_gb_million_features", [run["peak_bytes"] / 1e9 for run in largest], "GB")
    bench.note("spans_sampled", [n], "spans")
    bench.note("features_per_span", [largest[0]["features"] / n], "features")
    for size, firings in cache.firings.items():
        runs = spent[size]
        bench.note(f"span_ms_{firings}_firings", [_seconds(run) / n * 1e3 for run in runs], "ms")
        bench.note(f"span_cpu_ms_{firings}_firings", [run["cpu_s"] / n * 1e3 for run in runs], "ms")
        bench.note(f"sampled_share_{firings}_firings", [run["sampled"] / run["features"] for run in runs])
        bench.note(f"peak_mb_{firings}_firings", [run["peak_bytes"] / 1e6 for run in runs], "MB")
    for times, size in zip((8, 4, 2), case.sizes, strict=False):
        ratios = [_seconds(many) / _seconds(few) for many, few in zip(largest, spent[size], strict=True)]
        bench.note(f"time_{times}x_firings_over_1x", ratios)
    speed = [
        case.width / (run["once_s"] + whole)
        for run, whole in zip(largest, _whole(cache, case.sizes[-1], chosen, largest), strict=True)
    ]
    bench.note("features_per_second_million_features", speed, "features/s")
    return spent


def _seconds(spent: Spent) -> float:
    return sum(spent["seconds"])


def _whole(cache: Cache, sequences: int, chosen: Chosen, runs: Sequence[Spent]) -> list[float]:
    """Seconds that all features would take, from those of the spans and their share of the firings."""
    firings = firing_counts(Lake(cache.lake), sequences)
    inside = sum(int(firings[span[0].first : span[-1].end].sum()) for span in chosen.spans)
    return [_seconds(run) * int(firings.sum()) / inside for run in runs]


def _features(bench: Bench, case: Wide, cache: Cache, wide: Sequence[float]) -> None:
    """Time for all features of the wide cache over that of one with fewer features and as many firings."""
    size = case.sizes[1]
    chosen = _chosen(cache, size, case.spans)
    n = len(chosen.spans)
    say(f"{case.narrow:,} features, {cache.firings[size]:,} firings, {n} spans")
    runs = [bench.gloss(cache, size, chosen.spans, warm=chosen.warm) for _ in range(case.rounds)]
    bench.note(f"span_ms_{case.narrow}_features", [_seconds(run) / n * 1e3 for run in runs], "ms")
    narrow = _whole(cache, size, chosen, runs)
    bench.note("time_4x_features_over_1x", [many / few for many, few in zip(wide, narrow, strict=True)])


def _from_s3(bench: Bench, case: Wide, cache: Cache, chosen: Chosen, local: Sequence[Spent]) -> None:
    """Bytes that a server sends for some spans, over the bytes that their rows take; the time that they take.

    The bytes also for a bucket of each span that is sampled alone, as it would be if no spans were made.
    """
    n, size = case.from_s3, case.sizes[-1]
    spans = chosen.spans[:n]
    alone = [[span[len(span) // 2]] for span in spans]
    there = {"lake": f"s3://{cache.folder.name}/lake", "warm": chosen.warm}
    with served(cache.folder.parent) as server:
        say(f"from S3, {len(spans)} spans, then a bucket of each")
        once, *each = (
            _sent(bench, server, asked(cache, size, sampled) | there) for sampled in ([], spans, alone)
        )
        say("the same spans from S3, not counted")
        how = there | {"environment": server.direct}
        remote = [bench.gloss(cache, size, spans, **how) for _ in range(case.rounds)]
    for name, sampled, sent in zip(("", "_alone"), (spans, alone), each, strict=True):
        sent.subtract(once)  # what a process reads once
        least = _needed(cache, size, sampled)
        bench.note(f"s3_bytes_over_needed{name}", [sent.total() / least])
        for table in READ:
            bench.note(f"s3_{table}_bytes_over_needed{name}", [sent[table] / least])
        bench.note(f"s3_mb_needed{name}", [least / len(sampled) / 1e6], "MB")
    near = [sum(run["seconds"][:n]) for run in local]
    bench.note("s3_time_over_local", [_seconds(far) / few for far, few in zip(remote, near, strict=True)])


def _sent(bench: Bench, server: Served, request: Mapping[str, Any]) -> Counter[str]:
    """Bytes by table that a process is sent that answers a request, of the tables that tasks read."""
    server.sent.clear()
    child.run("benchmarks.sample.ours", {**request, "environment": server.counted}, threads=bench.threads)
    sent_bytes: Counter[str] = Counter()
    for path, size in server.sent.bytes.items():
        table = path.split("/")[1] if "/" in path else path  # behind the lake's own name
        if table in READ:
            sent_bytes[table] += size
    return sent_bytes


def _needed(cache: Cache, sequences: int, spans: Sequence[Span]) -> float:
    """Bytes that the rows of some spans take in the parts of `activations`."""
    parts = Lake(cache.lake).parts(cached(sequences).activations, "activations")
    return sum(needed(parts, Range(span[0].first, span[-1].end)) for span in spans)
