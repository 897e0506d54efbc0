"""The table of the page, from the report alone."""

from benchmarks import page
from benchmarks.agreement.cases import CASES
from benchmarks.report import Report


def table(report: Report) -> str:
    """A row for each comparison: features with equal verdicts, windows with other ones, median scores."""
    head = [
        "gloss",
        "delphi 0.1.3",
        "features with equal verdicts",
        "windows",
        "with another verdict",
        "of these with a split character",
        "median score, gloss",
        "delphi",
        "largest difference",
    ]
    columns = ("windows", "unequal", "split", "gloss", "delphi", "largest")
    rows = [
        [
            case.label,
            _peer(fuzzing=case.options["kind"] == "fuzzing", active="fuzz_type" in case.peer),
            f"{page.shown(report[f'{case.name}_equal'])} of {report.workload['features']}",
            *(page.shown(report[f"{case.name}_{column}"], spread=False) for column in columns),
        ]
        for case in CASES
        if f"{case.name}_equal" in report.named
    ]
    return page.table(head, rows)


def _peer(*, fuzzing: bool, active: bool) -> str:
    if not fuzzing:
        return "`DetectionScorer`"
    return f"`FuzzingScorer`, `fuzz_type={'active' if active else 'default'}`"
