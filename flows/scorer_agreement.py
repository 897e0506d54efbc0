"""Rank correlation (Spearman) of the scores of each two scorers over features, for the terminal and for Prefect.

Scores from few contexts are uncertain, which attenuates their correlations: beside those as they are the matrix has
the reliability of each scorer and the correlations as they would be without errors (Spearman 1904).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import isnan

import numpy as np
from rich.table import Table as Grid

from flows.scorer_reliability import Reliability
from flows.terminal import NameCell, name_column, number_column, short_number
from flows.terminal import table as terminal_table
from storage.tables import NO_EXPLAINER
from tasks.correlations import disattenuated, spearman
from tasks.metrics import Estimate

COMMON = 20
"""Features that two scorers must have in common: with fewer the interval spans nearly everything."""
UNRELIABLE = 0.3
"""Lower end of a reliability's interval below which no correlation is corrected by it: it would be divided by noise."""
WIDEST = 0.5
"""Width of the interval of a corrected correlation above which it is left out."""
LEGEND = (
    "below the diagonal: of the scores as they are; on it: reliability; above it: without the scores' errors (r / root "
    f"of both reliabilities, at most 1), left out where a reliability may be below {UNRELIABLE:g} or the interval is "
    f"wider than {WIDEST:g}. Errors that scorers share, since they judge the same contexts, raise all of them, and "
    "those above the diagonal most; these are approximate, since their formulas are not made for ranks"
)
"""What stands where in a matrix, and what speaks against its numbers."""
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
    scores: Mapping[str, Mapping[int, float]] = field(default_factory=dict, repr=False)
    """Of each scorer, by feature."""
    reliabilities: Mapping[str, Estimate] = field(default_factory=dict)
    """Of the scorers whose questions can be halved."""
    corrected: Mapping[Pair, Estimate] = field(default_factory=dict)
    """Correlations without the errors of both scorers, of pairs for which that says something."""

    def with_reliabilities(
        self, reliabilities: Mapping[tuple[str, str, str], Reliability], seed: int
    ) -> "Agreement":
        """The same with the reliabilities of its scorers, which are given by coder, explainer and scorer."""
        known = {
            scorer: result
            for scorer in self.scorers
            for explainer in (self.explainer, NO_EXPLAINER)
            if (result := reliabilities.get((self.coder, explainer, scorer))) and result.estimate.n >= COMMON
        }
        corrected = {
            pair: estimate
            for pair in self.correlations
            if all(scorer in known and known[scorer].estimate.low >= UNRELIABLE for scorer in pair)
            and (estimate := self._corrected(pair, known, seed))
        }
        estimates = {scorer: result.estimate for scorer, result in known.items()}
        return replace(self, reliabilities=estimates, corrected=corrected)

    def _corrected(self, pair: Pair, known: Mapping[str, Reliability], seed: int) -> Estimate | None:
        """Over the features that both scored as a whole and by halves; None where it says too little."""
        by_feature = [*(self.scores[scorer] for scorer in pair), *(known[scorer].halves for scorer in pair)]
        common = sorted(set.intersection(*(set(each) for each in by_feature)))
        if len(common) < COMMON:
            return None
        arrays = (np.stack([np.asarray(each[feature]) for feature in common], axis=-1) for each in by_feature)
        estimate = disattenuated(*arrays, seed=seed)
        if not estimate.high - estimate.low <= WIDEST:
            return None
        value, low, high = np.clip(estimate[:3], -1.0, 1.0).tolist()
        return Estimate(value, low, high, estimate.n)


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
        made.append(Agreement(coder, explainer, named, correlations, scores))
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
        f"{scorer} {short_number(estimate.value)} [{short_number(estimate.low)}, {short_number(estimate.high)}]"
        for scorer, estimate in agreement.reliabilities.items()
    )
    return f"reliability by halves of the questions: {', '.join(known) or 'not known'}"


def _place(agreement: Agreement, row: int, column: int) -> str:
    """What the matrix holds in a row and a column."""
    first, second = (agreement.scorers[place] for place in sorted((row, column)))
    if row == column:
        reliability = agreement.reliabilities.get(first)
        return "" if reliability is None else short_number(reliability.value)
    if row > column:
        return _cell(agreement.correlations.get((first, second)))
    corrected = agreement.corrected.get((first, second))
    return "" if corrected is None else _cell(corrected)


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
            **_without_errors(agreement.corrected.get((first, second))),
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
    return f"{short_number(estimate.value)}\n{short_number(estimate.low)} {short_number(estimate.high)}"


def _without_errors(corrected: Estimate | None) -> dict[str, float | None]:
    names = ("without errors", "without errors, low", "without errors, high")
    return dict(zip(names, map(_number, corrected[:3] if corrected else [None] * 3), strict=True))


def _reliabilities(agreement: Agreement, *scorers: str) -> list[float | None]:
    estimates = (agreement.reliabilities.get(scorer) for scorer in scorers)
    return [_number(estimate and estimate.value) for estimate in estimates]


def _number(value: float | None) -> float | None:
    """Prefect's tables hold no NaN."""
    return None if value is None or isnan(value) else round(value, 3)
