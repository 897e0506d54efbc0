"""Rank correlation (Spearman) of the scores of each two scorers over features, for the terminal and for Prefect.

Scores from few contexts are uncertain, which attenuates their correlations: beside those as they are the matrix has
the reliability of each scorer and the correlations as they would be without errors (Spearman 1904).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import isnan

from rich.table import Table as Grid

from flows.terminal import NameCell, name_column, number_column
from flows.terminal import table as terminal_table
from storage.tables import NO_EXPLAINER
from tasks.metrics import Estimate, disattenuated, spearman

COMMON = 20
"""Features that two scorers must have in common: with fewer the interval spans nearly everything."""
LEGEND = (
    "below the diagonal: of the scores as they are; on it: reliability; above it: without the scores' errors (r / root "
    "of both reliabilities, at most 1), where both reliabilities are above 0"
)
"""What stands where in a matrix."""
ACROSS = 7
"""Scorers that fit side by side on a line of 80 characters, if the last has no interval below it."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Agreement:
    """The rank correlations of the scorers of one explainer's explanations of one coder."""

    coder: str
    explainer: str
    scorers: tuple[str, ...]
    correlations: Mapping[Pair, Estimate]
    """By names in the order of `scorers`; pairs with too few common features are left out."""
    reliabilities: Mapping[str, Estimate] = field(default_factory=dict)
    """Of the scorers whose questions can be halved."""

    def with_reliabilities(self, reliabilities: Mapping[tuple[str, str, str], Estimate]) -> "Agreement":
        """The same with the reliabilities of its scorers, which are given by coder, explainer and scorer."""
        known = {
            scorer: estimate
            for scorer in self.scorers
            for explainer in (self.explainer, NO_EXPLAINER)
            if (estimate := reliabilities.get((self.coder, explainer, scorer))) and estimate.n >= COMMON
        }
        return replace(self, reliabilities=known)

    def corrected(self, pair: Pair) -> float | None:
        """A pair's correlation without the errors of both; None where a reliability's interval begins below 0."""
        reliable = [self.reliabilities[scorer] for scorer in pair if scorer in self.reliabilities]
        if pair not in self.correlations or len([each for each in reliable if each.low > 0]) < len(pair):
            return None
        return disattenuated(self.correlations[pair].value, *(each.value for each in reliable))


def agreements(rows: Sequence[Mapping], seed: int) -> list[Agreement]:
    """From rows of coder, explainer, scorer, feature and score; a list without those of which no pair can be told."""
    groups: dict[Pair, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        groups[row["coder"], row["explainer"]][row["scorer"]][row["feature"]] = row["score"]
    made = []
    for (coder, explainer), scores in groups.items():
        correlations = {}
        for first, second in combinations(scores, 2):
            common = [feature for feature in scores[first] if feature in scores[second]]
            if len(common) >= COMMON:
                values = ([scores[name][feature] for feature in common] for name in (first, second))
                correlations[first, second] = spearman(*values, seed=seed)
        named = tuple(scorer for scorer in scores if any(scorer in pair for pair in correlations))
        made.append(Agreement(coder, explainer, named, correlations))
    return [agreement for agreement in made if agreement.correlations]


def heading(agreement: Agreement, about: str = "") -> str:
    """The heading of the matrix; `about` names coder and explainer."""
    counts = [estimate.n for estimate in agreement.correlations.values()]
    few, many = min(counts), max(counts)
    features = f"{many:,} features" if few == many else f"{few:,} to {many:,} features"
    return f"Rank correlation of scores over {features}{about}, with 95 % intervals"


def grids(agreement: Agreement) -> Iterator[Grid]:
    """The matrix, in as many pieces as a terminal needs: correlations below the diagonal, corrected ones above it."""
    scorers = agreement.scorers
    across = len(scorers) if len(scorers) <= ACROSS else ACROSS - 1
    for first in range(0, len(scorers), across):
        shown = range(first, min(first + across, len(scorers)))
        grid = terminal_table(name_column("scorer"), *(number_column(str(column + 1)) for column in shown))
        for place, scorer in enumerate(scorers):
            cells = (_place(agreement, place, column) for column in shown)
            grid.add_row(NameCell(f"{place + 1} {scorer}"), *cells)
        yield grid


def reliability(agreement: Agreement) -> str:
    """The diagonal with its intervals."""
    known = (
        f"{scorer} {_short(estimate.value)} [{_short(estimate.low)}, {_short(estimate.high)}]"
        for scorer, estimate in agreement.reliabilities.items()
    )
    return f"reliability by halves of the questions: {', '.join(known) or 'not known'}"


def _place(agreement: Agreement, row: int, column: int) -> str:
    """What the matrix holds in a row and a column."""
    first, second = (agreement.scorers[place] for place in sorted((row, column)))
    if row == column:
        reliability = agreement.reliabilities.get(first)
        return "" if reliability is None else _short(reliability.value)
    if row > column:
        return _cell(agreement.correlations.get((first, second)))
    corrected = agreement.corrected((first, second))
    return "" if corrected is None else _short(corrected)


def table(agreements: Sequence[Agreement]) -> list[dict[str, object]]:
    """One row per pair, for Prefect."""
    return [
        {
            "coder": agreement.coder,
            "explainer": agreement.explainer,
            "scorer": first,
            "other scorer": second,
            "Spearman": _number(estimate.value),
            "low": _number(estimate.low),
            "high": _number(estimate.high),
            "features": estimate.n,
            **dict(
                zip(
                    ("reliability", "other reliability"),
                    _reliabilities(agreement, first, second),
                    strict=True,
                )
            ),
            "without errors": _number(agreement.corrected((first, second))),
        }
        for agreement in agreements
        for (first, second), estimate in agreement.correlations.items()
    ]


def _cell(estimate: Estimate | None) -> str:
    """The correlation, and its interval below it."""
    if estimate is None:
        return "too few"
    if isnan(estimate.value):
        return "constant"
    return f"{_short(estimate.value)}\n{_short(estimate.low)} {_short(estimate.high)}"


def _short(value: float) -> str:
    """`.42`, `-.07`: without the zero, so that more scorers fit side by side; nothing for what is not known."""
    if isnan(value):
        return ""
    return f"{value:.2f}".replace("0.", ".", 1)


def _reliabilities(agreement: Agreement, *scorers: str) -> list[float | None]:
    estimates = (agreement.reliabilities.get(scorer) for scorer in scorers)
    return [_number(estimate and estimate.value) for estimate in estimates]


def _number(value: float | None) -> float | None:
    """Prefect's tables hold no NaN."""
    return None if value is None or isnan(value) else round(value, 3)
