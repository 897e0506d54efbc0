"""Statistics of the readers' answers in a report: share of yes, yes by place, commonest answer, correlation, failures.

They show a reader that always gives the same answer, or prefers a place in the list, which no score does.
"""

from collections.abc import Sequence

from rich.table import Column
from rich.table import Table as Grid

from flows.report_scores import Varied, who
from flows.terminal import NameCell, name_column, number_column, one_line, short_number
from flows.terminal import table as terminal_table

PLACES = 6
"""Places of a question that a terminal shows; of more the first three and the last two."""
CONSTANT = 0.9
"""Share of one answer from which on a reader counts as constant."""
RIGHTLY = 0.8
"""Share of questions to which that answer is right, from which on there is no warning."""
FEWEST = 10
"""Answers below which there is no warning."""
LIGHT = 2 / 3
"""Warn when a verdict counts as less than this many independent ones."""
PAIRS = 400
"""Pairs of verdicts below which their correlation, whose error is then 0.05, is neither shown nor said."""


def is_constant(row: dict) -> bool:
    """Whether nearly all answers are one and the same, to questions of which many have another right answer."""
    share, answers = row["answer_share"] or 0.0, row["answers"] or 0
    return answers >= FEWEST and share >= CONSTANT and row["right_share"] < RIGHTLY


def correlation(row: dict) -> float | None:
    """Of two verdicts of one question on contexts of one class; null where too few are known."""
    within = row["within_question_correlation"]
    return within if within is not None and row["pairs"] >= PAIRS else None


def is_correlated(row: dict) -> bool:
    """Whether the verdicts of a question are so correlated that each counts as far less than an independent one."""
    return correlation(row) is not None and row["effective_weight"] < LIGHT


def warnings(rows: Sequence[dict], varied: Varied) -> list[str]:
    """A sentence on each reader whose answers do not depend on the question, or are correlated within it."""
    constant = [
        f"{_who(row, varied)}: {row['answer']} is {row['answer_share']:.0%} of {row['answers']:,} answers and "
        f"right in {row['right_share']:.0%}: the score says nothing of the explanations; gloss check tries the reader"
        for row in rows
        if is_constant(row)
    ]
    correlated = [
        f"{_who(row, varied)}: verdicts in one question are correlated ({short_number(correlation(row))}), so "
        f"each counts as {short_number(row['effective_weight'])} of an independent one and intervals are wider: show "
        "fewer contexts per question (shown)"
        for row in rows
        if is_correlated(row)
    ]
    return [*constant, *correlated]


def grid(rows: Sequence[dict], varied: Varied) -> Grid:
    """The table for a terminal of 80 columns."""
    grid = terminal_table(
        name_column("scorer"),
        number_column("yes"),
        number_column("true"),
        Column("yes by place", justify="right"),
        Column("commonest", justify="right"),
        number_column("within"),
        number_column("failed"),
        title="How the readers answered",
        caption="yes: share of positive verdicts, true: the same if all were right\n"
        "commonest: a question's verdicts in order, or the example named\n"
        "within: correlation of two verdicts on one class within one question",
    )
    for row in rows:
        style = "bold red" if is_constant(row) else "yellow" if row["failed_share"] >= 0.5 else None
        grid.add_row(
            NameCell(_who(row, varied)),
            short_number(row["yes_share"]),
            short_number(row["true_share"]),
            places(row["places"]),
            commonest(row),
            short_number(correlation(row)),
            f"{row['failed_share']:.0%}",
            style=style,
        )
    return grid


def table(rows: Sequence[dict]) -> list[dict[str, object]]:
    """The same for Prefect's page, with all places."""
    return [
        {
            "coder": row["coder"],
            "explainer": row["explainer"],
            "scorer": row["scorer"],
            "yes": short_number(row["yes_share"]),
            "yes if all were right": short_number(row["true_share"]),
            "yes by place": " ".join(map(short_number, row["places"])) if len(row["places"]) > 1 else "",
            "commonest answer": commonest(row),
            "right": "" if row["right_share"] is None else f"in {row['right_share']:.0%}",
            "correlation within questions": short_number(correlation(row)),
            "failed": f"{row['failed_share']:.0%}",
        }
        for row in rows
    ]


def _who(row: dict, varied: Varied) -> str:
    return who(row["coder"], row["explainer"], row["scorer"], alone=row["alone"], varied=varied)


def places(shares: Sequence[float]) -> str:
    """`.42 .40 .39`; of many the first and the last; nothing where questions show one example."""
    if len(shares) < 2:
        return ""
    shown = list(map(short_number, shares))
    return " ".join(shown if len(shown) <= PLACES else [*shown[:3], "…", *shown[-2:]])


def commonest(row: dict) -> str:
    """`00000 22%`; long answers without their middle."""
    answer = row["answer"]
    if answer is None:
        return ""
    shown = answer if len(answer) <= 10 else f"{answer[:5]}…{answer[-3:]}"
    return f"{one_line(shown)} {row['answer_share']:.0%}"
