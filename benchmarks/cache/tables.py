"""The tables of the page, from the report alone."""

import re
from collections.abc import Iterator

from benchmarks.page import shown, table
from benchmarks.report import Report

SYSTEMS = {"floor": "floor", "gloss": "gloss", "peer": "delphi"}


def tables(report: Report) -> list[str]:
    """Cases, memory, and how far results agree."""
    return [*_cases(report), *_real(report), *_memory(report), *_agreements(report)]


def _cases(report: Report) -> Iterator[str]:
    unit = "cpu" if report.device == "cpu" else "time"
    over = re.compile(rf"{unit}_over_floor_((\d+)x(\d+))")
    matches = [match for match in map(over.fullmatch, report.named) if match]
    if not matches:
        return
    there = {
        key: name for key, name in SYSTEMS.items() if any(f.startswith(f"{key}_{unit}") for f in report.named)
    }
    word = "CPU time" if unit == "cpu" else "time"
    yield f"{word[0].upper()}{word[1:]} per token in microseconds, ratios of it within a round, and peak memory in MB:"
    head = ["width, sites", *there.values(), "gloss / floor"]
    head += ["delphi / gloss"] if "peer" in there else []
    rows = []
    for match in matches:
        case = match[1]
        cells = [f"{int(match[2]):,}, {match[3]}"]
        cells += [shown(report.named.get(f"{key}_{unit}_us_{case}"), spread=False) for key in there]
        cells += [shown(report.named.get(f"{unit}_over_floor_{case}"))]
        cells += [shown(report.named.get(f"peer_{unit}_over_gloss_{case}"))] if "peer" in there else []
        cells += [shown(report.named.get(f"{key}_peak_mb_{case}"), spread=False) for key in there]
        rows.append(cells)
    yield table([*head, *(f"{name}, MB" for name in there.values())], rows)
    fresh = report.named.get(f"{unit}_over_fresh_floor")
    if fresh:
        yield (
            "The floor's product goes block by block into one buffer, which is the cheapest way that was found. Over "
            f"one product per batch into fresh memory, as it is written most simply, the ratio is {shown(fresh)}."
        )


def _real(report: Report) -> Iterator[str]:
    unit, clock = ("cpu", "CPU time") if report.device == "cpu" else ("time", "Time")
    if f"real_floor_{unit}_us" not in report.named:
        return
    yield (
        f"{clock} per token in microseconds, and peak memory. The floor is the forward pass to the site and the "
        "encoder's product, and nothing kept; gloss' path is that of its shards, from tokens to written firings:"
    )
    rows = [
        [label, shown(report[f"real_{name}_{unit}_us"]), shown(report[f"real_{name}_peak_gb"], spread=False)]
        for name, label in (("floor", "floor"), ("gloss", "gloss"))
    ]
    yield table(["system", f"{unit} us per token", "peak GB"], rows)
    yield (
        "`gloss cache` as a whole, with packing, the coder's check and the features' directions over the vocabulary, "
        f"takes {shown(report[f'real_whole_{unit}_s' if unit == 'cpu' else 'real_whole_wall_s'])} s for these tokens "
        f"and holds {shown(report['real_peak_gb'])} GB at most."
    )


def _memory(report: Report) -> Iterator[str]:
    name = re.compile(r"(gloss|peer)_peak_mb_(\d+)_tokens")
    matches = [match for match in map(name.fullmatch, report.named) if match]
    if not matches:
        return
    rows = [[SYSTEMS[match[1]], f"{int(match[2]):,}", shown(report[match[0]])] for match in matches]
    yield "Peak memory of the process by the length of the corpus:"
    yield table(["system", "tokens", "MB"], rows)
    grown = [
        f"{SYSTEMS[key]} {shown(report[f'{key}_bytes_per_further_token'])}"
        for key in ("gloss", "peer")
        if f"{key}_bytes_per_further_token" in report.named
    ]
    yield f"Bytes of memory for each further token: {', '.join(grown)}."
    disk = [
        f"{name} {shown(report[figure])}"
        for name, figure in (("gloss", "bytes_per_firing"), ("delphi", "peer_bytes_per_firing"))
        if figure in report.named
    ]
    if disk:
        yield f"Bytes on disk per firing: {', '.join(disk)}."


def _agreements(report: Report) -> Iterator[str]:
    labels = {"reference": "dense arithmetic in float64", "peer": "delphi"}
    rows = [
        [
            label,
            *(shown(report[f"{key}_{count}"]) for count in ("firings", "equal", "stepped", "tied", "wrong")),
        ]
        for key, label in labels.items()
        if f"{key}_firings" in report.named
    ]
    if rows:
        yield (
            "Firings of gloss held against those of others, all cases together. Sums in another order put some values "
            "over the edge between two neighbouring float16 numbers, and change which of two equal features is k-th:"
        )
        yield table(["against", "firings", "equal", "float16 step", "tie", "wrong"], rows)
