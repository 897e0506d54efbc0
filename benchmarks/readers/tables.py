"""The tables of the page, from the report alone."""

from collections.abc import Iterator

from benchmarks.page import shown, table
from benchmarks.readers.cases import COMPARED, USUAL
from benchmarks.report import Report

_SYSTEMS = {
    "": "gloss",
    "kept_": "gloss, every reply kept in the lake",
    "bare_": "its HTTP client alone, httpx over aiohttp, posting the same bodies",
    "peer_": "delphi, its OpenRouter client",
}


def tables(report: Report) -> list[str]:
    """Speed beside delphi, what the number of contexts per question changes, and what rounds save."""
    return [*_speed(report), *_by_shown(report), *_in_rounds(report)]


def _speed(report: Report) -> Iterator[str]:
    columns = {"requests_per_second": "requests per second", "cpu_ms_per_request": "CPU ms per request"}
    rows = [
        [label, *(shown(report.named.get(f"{prefix}{column}")) for column in columns)]
        for prefix, label in _SYSTEMS.items()
        if f"{prefix}requests_per_second" in report.named
    ]
    if rows:
        yield (
            "Detection's questions, from contexts to verdicts: prompts are built, sent, and their answers read. The "
            "endpoint answers everything alike after 50 ms and runs on another core than the asking process:"
        )
        yield table(["system", *columns.values()], rows)


_WORTH = {"balanced_accuracy": "balanced accuracy", "f1": "F1", "spearman": f"rank correlation with {USUAL}"}
"""Each with its interval."""
_COST = {
    "failed_share": "failed",
    "requests_per_context": "requests",
    "prompt_tokens_per_context": "prompt tokens",
    "cached_tokens_per_context": "of them cached",
    "completion_tokens_per_context": "completion tokens",
    "cost_per_1000_contexts": "price of 1,000",
    "cpu_ms_per_context": "CPU ms",
    "contexts_per_second": "contexts per second",
}


def _by_shown(report: Report) -> Iterator[str]:
    """A row for each number of contexts per question, and the columns of which anything is known."""
    columns = {
        label: cells
        for column, label in (_WORTH | _COST).items()
        if any(
            cells := [
                _cell(report, f"shown_{count}_{column}", estimated=column in _WORTH) for count in COMPARED
            ]
        )
    }
    if not columns:
        return
    worth = any(label in columns for label in _WORTH.values())
    judged = (
        "Median over the judged explanations with its 95 % interval; tokens and requests are those of one verdict. "
        if worth
        else ""
    )
    yield (
        f"1, 5 and 20 contexts per question. {judged}"
        "CPU time of the asking process per verdict, and verdicts per second, are those of the endpoint above:"
    )
    rows = [[str(count), *cells] for count, *cells in zip(COMPARED, *columns.values(), strict=True)]
    yield table(["contexts per question", *columns], rows)
    if report.workload.get("reader") == "baseline":
        yield (
            "The embedded baseline judges each context by itself, so that its verdicts are the same with any number; "
            "what a language model makes of several at once is measured with `--reader FILE`."
        )
    alone, cpu = (
        report.named.get(f"shown_1_alone_{column}")
        for column in ("contexts_per_second", "cpu_ms_per_context")
    )
    if alone:
        yield (
            "Questions about one context each go in lists of up to 32 in a call; in calls of their own, as to servers "
            f"that take no lists, a verdict takes {shown(cpu)} ms of CPU at {shown(alone)} per second."
        )


def _cell(report: Report, name: str, *, estimated: bool) -> str:
    """A number, with its interval where it has one."""
    figure = report.named.get(name)
    low, high = (shown(report.named.get(f"{name}_{end}")) for end in ("low", "high"))
    value = shown(figure, spread=False)
    return f"{value} ({low} to {high})" if estimated and figure and low else value


def _in_rounds(report: Report) -> Iterator[str]:
    share, agreement, even = (
        report.named.get(name) for name in ("adaptive_requests_share", "adaptive_spearman", "even_spearman")
    )
    if share and agreement and even:
        yield (
            f"In rounds, until the half width of a score is that of the list above, {shown(share)} of the questions "
            f"are asked; the scores' rank correlation with those of all questions is {shown(agreement)}, and "
            f"{shown(even)} where as many are asked about every explanation alike."
        )
