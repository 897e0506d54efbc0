"""Rank correlation (Spearman) of the scores of each two scorers over features, for the terminal and for Prefect."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan

from rich.table import Table as Grid

from flows.terminal import NameCell, name_column, number_column
from flows.terminal import table as terminal_table
from tasks.metrics import Estimate, spearman

COMMON = 20
"""Features that two scorers must have in common: with fewer the interval spans nearly everything."""
ACROSS = 7
"""Scorers that fit side by side on a line of 80 characters."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Agreement:
    """The rank correlations of the scorers of one explainer's explanations of one coder."""

    coder: str
    explainer: str
    scorers: tuple[str, ...]
    correlations: Mapping[Pair, Estimate]
    """By names in the order of `scorers`; pairs with too few common features are left out."""


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
    """The lower triangle of the matrix, in as many pieces as a terminal needs."""
    numbers = {scorer: number for number, scorer in enumerate(agreement.scorers, start=1)}
    for first in range(0, len(numbers) - 1, ACROSS - 1):
        across = agreement.scorers[first : min(first + ACROSS - 1, len(numbers) - 1)]
        grid = terminal_table(
            name_column("scorer"), *(number_column(str(numbers[scorer])) for scorer in across)
        )
        for scorer in agreement.scorers[first:]:
            pairs = ((other, scorer) for other in across)
            cells = [
                _cell(agreement.correlations.get(pair)) if _below(numbers, pair) else "" for pair in pairs
            ]
            grid.add_row(NameCell(f"{numbers[scorer]} {scorer}"), *cells)
        yield grid


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
        }
        for agreement in agreements
        for (first, second), estimate in agreement.correlations.items()
    ]


def _below(numbers: Mapping[str, int], pair: Pair) -> bool:
    return numbers[pair[0]] < numbers[pair[1]]


def _cell(estimate: Estimate | None) -> str:
    """The correlation, and its interval below it."""
    if estimate is None:
        return "too few"
    if isnan(estimate.value):
        return "constant"
    return f"{estimate.value:.2f}\n{_short(estimate.low)} {_short(estimate.high)}"


def _short(value: float) -> str:
    """`.42`, `-.07`: without the zero, so that more scorers fit side by side."""
    return f"{value:.2f}".replace("0.", ".", 1)


def _number(value: float) -> float | None:
    """Prefect's tables hold no NaN."""
    return None if isnan(value) else round(value, 3)
