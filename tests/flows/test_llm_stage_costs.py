"""The cost line next to the progress bar of a stage that asks readers."""

import io

import pytest

from flows.llm_stage import _CostLine
from flows.progress import Bar, waiting
from flows.terminal import console
from tasks.llm.budget import Budget


@pytest.mark.parametrize(
    ("cost", "tokens", "done", "running", "text"),
    [
        (0.0, 0, 3, 2, ""),
        (1.5, 900, 0, 2, "cost 1.50"),
        (1.5, 900, 2, 2, "cost 1.50, about 3.50 to go"),
        (1.5, 900, 10, 0, "cost 1.50"),
        (0.0, 120_000, 5, 0, "120,000 tokens, about 120,000 to go"),
    ],
)
def test_what_a_stage_costs_and_is_likely_to_cost(
    cost: float, tokens: int, done: int, running: int, text: str
) -> None:
    """What this stage spent, not those before it; the rest by the share of buckets done, those under way half."""
    account, bar = Budget(spent=7.0), Bar("verdicts", 10, console(io.StringIO()))
    cost_line = _CostLine(bar, account)
    account.spent, account.tokens = 7.0 + cost, tokens
    bar.done, cost_line.running = done, running

    assert text == cost_line.text() == bar.beside()


def test_a_plain_line_ends_with_it() -> None:
    """Where there is no terminal."""
    written = io.StringIO()
    bar = Bar("verdicts", 2, console(written, width=40))
    bar.beside = lambda: "cost 1.50"
    with bar.shown():
        bar.advance(2)

    assert written.getvalue().endswith("verdicts: 2 of 2 parts (0 s), cost 1.50\n")


def test_a_long_wait_is_announced_in_plain_text_where_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal; else nothing turns there."""
    with waiting("loading one"):
        pass
    with waiting("loading another", plainly=True):
        assert capsys.readouterr().err == "loading another\n"
