"""The tables of the page, from the report alone."""

import re
from collections.abc import Iterator

from benchmarks.page import shown, table
from benchmarks.report import Report
from benchmarks.sample.cases import READ

SYSTEMS = {
    "gloss": "gloss",
    "peer": "delphi",
    "default": "gloss, its own defaults",
    "earlier": "gloss, the defaults of earlier versions",
}


def tables(report: Report) -> list[str]:
    """Speed beside delphi, growth, bytes from S3."""
    return [*_speed(report), *_growth(report), *_bytes(report)]


def _speed(report: Report) -> Iterator[str]:
    columns = {
        "contexts_per_feature": "contexts per feature",
        "features_per_second": "features per second",
        "cpu_ms_per_feature": "CPU ms per feature",
        "peak_mb": "peak MB",
    }
    rows = [
        [label, *(shown(report.named.get(f"{name}_{column}")) for column in columns)]
        for name, label in SYSTEMS.items()
        if f"{name}_features_per_second" in report.named
    ]
    if not rows:
        return
    yield (
        "Every feature of one cache, from files to contexts that can be asked about: delphi with its defaults, gloss "
        "with as many contexts of each kind, and gloss with its own defaults and those of earlier versions (`random` "
        "windows alone, `apart: window`):"
    )
    yield table(["system", *columns.values()], rows)
    if "peer_features" in report.named:
        counts = {name: shown(report[f"peer_{name}"]) for name in ("features", "equal", "tied", "wrong")}
        yield (
            "The strongest windows of each feature, gloss' held against delphi's: of {features} features {equal} have "
            "the same ones, {tied} differ among windows that peak alike, {wrong} are wrong."
        ).format(**counts)


def _growth(report: Report) -> Iterator[str]:
    name = re.compile(r"span_ms_((\d+)_firings)")
    matches = [match for match in map(name.fullmatch, report.named) if match]
    if not matches:
        return
    yield (
        f"One worker on {shown(report['spans_sampled'])} spans of {shown(report['features_per_span'])} features on "
        "average, as a run would cut the largest cache: that of the densest feature, and others spread over the "
        "million. The same features are sampled of this cache and of its beginnings; those that fire too seldom are "
        "skipped:"
    )
    rows = [
        [
            f"{int(match[2]):,}",
            shown(report[match[0]]),
            shown(report[f"span_cpu_ms_{match[1]}"], spread=False),
            shown(report[f"sampled_share_{match[1]}"], spread=False),
            shown(report[f"peak_mb_{match[1]}"], spread=False),
        ]
        for match in matches
    ]
    yield table(["firings", "ms per span", "CPU ms per span", "sampled share", "peak MB"], rows)
    times = [
        f"{times} times as many firings take {shown(report[figure])} times as long"
        for times in (2, 4, 8)
        if (figure := f"time_{times}x_firings_over_1x") in report.named
    ]
    yield f"{'; '.join(times)}."
    if "time_4x_features_over_1x" in report.named:
        yield (
            f"4 times as many features that fire as often in all take {shown(report['time_4x_features_over_1x'])} "
            "times as long, by the spans' share of the firings. By the same share a worker goes through "
            f"{shown(report['features_per_second_million_features'])} of the million features per second of the "
            "largest cache, the reading of its text included."
        )


def _bytes(report: Report) -> Iterator[str]:
    if "s3_bytes_over_needed" not in report.named:
        return
    yield (
        "Bytes that an S3 server sends for a span, over the bytes that its features' rows take in the parts of "
        "`activations`; what a process reads once for all spans is left out. What is sent of a part is whole row "
        "groups, of which one holds many buckets: so much would be sent for one alone:"
    )
    rows = [
        [
            label,
            *(
                shown(report[f"s3_{what}{name}"])
                for what in (
                    "mb_needed",
                    "bytes_over_needed",
                    *(f"{part}_bytes_over_needed" for part in READ),
                )
            ),
        ]
        for label, name in (("a span", ""), ("a bucket alone", "_alone"))
    ]
    yield table(["sampled", "MB needed", "all", *(f"`{name}`" for name in READ)], rows)
    yield f"From there a span takes {shown(report['s3_time_over_local'])} times as long as from a folder."
