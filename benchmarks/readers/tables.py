"""The tables of the page, from the report alone."""

from collections.abc import Iterator

from benchmarks.page import shown, table
from benchmarks.report import Report

_SYSTEMS = {
    "": "gloss",
    "kept_": "gloss, every reply kept in the lake",
    "peer_": "delphi, its OpenRouter client",
}


def tables(report: Report) -> list[str]:
    """Speed beside delphi."""
    return [*_speed(report)]


def _speed(report: Report) -> Iterator[str]:
    columns = {"requests_per_second": "requests per second", "cpu_ms_per_request": "CPU ms per request"}
    rows = [
        [said, *(shown(report.named.get(f"{prefix}{column}")) for column in columns)]
        for prefix, said in _SYSTEMS.items()
        if f"{prefix}requests_per_second" in report.named
    ]
    if rows:
        yield (
            "Detection's questions, from contexts to verdicts: prompts are built, sent, and their answers read. The "
            "endpoint answers everything alike after 50 ms and runs on another core than the asking process:"
        )
        yield table(["system", *columns.values()], rows)
