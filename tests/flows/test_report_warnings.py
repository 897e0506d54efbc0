"""What a report says loudly: readers that failed their check, scores at chance."""

import io

import pytest

from flows.reader_check import Checked
from flows.report import Report, _markdown, show
from flows.report_scores import Line, lines
from flows.report_setup import ReportSetup
from flows.report_warnings import at_chance, failed_checks
from flows.terminal import console, plain
from tasks.metrics import Estimate
from tasks.reader_check.results import CheckResult
from tests.flows.test_report_scores import row

SETUP = ReportSetup(chances={"detection": 0.5}, judged_by={"detection": "judge"})


def scored(mean: float, floor: float | None, n: int = 20) -> Line:
    """A scorer whose features differ by .1, half of them above the mean."""
    rows = [row(number, mean + 0.05 * (-1) ** number, floor) for number in range(n)]
    (line,) = lines(rows, [], SETUP)
    return line


@pytest.mark.parametrize(
    ("mean", "floor", "warned"),
    [
        (0.48, 0.47, True),  # a judge that ignores the question
        (0.51, 0.5, True),
        (0.70, 0.69, False),  # it goes by the contexts alone, which the margin shows
        (0.51, 0.4, False),  # above the floor
        (0.60, 0.5, False),
    ],
)
def test_scores_at_chance_are_named(mean: float, floor: float, warned: bool) -> None:
    """Where neither chance nor a floor lies below the interval, who reads a mean of .48 is told what it is worth."""
    sentences = at_chance([scored(mean, floor)], SETUP)
    assert warned == bool(sentences)
    for line in sentences:
        assert line.startswith(f"WARNING: detection: the mean score {mean:.2f} [0.")
        assert "cannot be told from chance, 0.50" in line
        assert "either readers.judge does not see what fits" in line


def test_scores_without_an_interval_or_a_floor_are_not_named() -> None:
    """Three features tell nothing, and without a floor nobody knows what the contexts alone give away."""
    assert [] == at_chance([scored(0.48, 0.47, n=3), scored(0.48, None)], SETUP)


def result(component: str, right: Estimate, constant: str | None = None) -> CheckResult:
    return CheckResult(component, "balanced accuracy", 5, right, 0.5, 0, 0, None, constant, 0)


def test_a_report_repeats_what_a_reader_failed() -> None:
    """On the terminal and on Prefect's page, before anything that the scores would make one believe."""
    bad = Checked("judge", [result("detection", Estimate(0.46, 0.3, 0.6, 25))])
    good = Checked("other", [result("detection", Estimate(0.9, 0.8, 0.97, 25))])
    line = scored(0.6, 0.5)
    report = Report("r", "l", [], [], [line], [], SETUP, checks=[good, bad])

    failed, advice = failed_checks([good, bad])
    assert failed.startswith(
        "WARNING: readers.judge, asked by detection: balanced accuracy 0.46 [0.30, 0.60]"
    )
    assert advice.startswith("readers.judge: what it says at chance is worth nothing")

    written = io.StringIO()
    show(report, console(written, width=80))
    assert f"\n{failed}\n\n{advice}\n" in written.getvalue()
    assert f"- **{plain(failed)}**" in _markdown(report)
