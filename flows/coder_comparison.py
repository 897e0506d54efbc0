"""The comparison of a run's coders in a report: their order by mean score, and the differences between them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import isnan

from rich.table import Table as Grid

from flows.report_scores import Line, interval
from flows.terminal import NameCell, name_column, number_column, short_number
from flows.terminal import table as terminal_table
from tasks.metrics import Estimate, difference

MOST = 4
"""With more coders than these a terminal shows only how far each lies above the next one of the order."""
ORDER = "Coders by mean score; >: higher by the 95 % interval, ~: not told apart"
LEGEND = (
    "intervals are Welch's, since features differ, and hold for all pairs of coders of a scorer at once (Bonferroni); "
    "floor: the last coder's, the higher one of both, on the same features"
)


@dataclass(frozen=True)
class CoderDifference:
    """How much higher a coder's mean score is than that of one below it; features differ."""

    first: Line
    second: Line
    difference: Estimate

    @property
    def is_told(self) -> bool:
        """Whether the interval is above zero."""
        return self.difference.low > 0


@dataclass(frozen=True)
class CoderComparison:
    """The coders that one scorer has scores of, on one explainer's explanations."""

    about: str
    """The scorer, after the explainer where there are several."""
    ranked: tuple[Line, ...]
    """The highest mean first."""
    differences: tuple[CoderDifference, ...]
    """Of all pairs, in the order of `ranked`."""
    without: tuple[str, ...]
    """Coders without a score."""

    @property
    def order(self) -> tuple[str, ...]:
        """The coders, the highest mean first."""
        return tuple(line.coder for line in self.ranked)

    @property
    def steps(self) -> tuple[CoderDifference, ...]:
        """From each coder of the order to the next one."""
        follows = set(pairwise(self.order))
        return tuple(pair for pair in self.differences if (pair.first.coder, pair.second.coder) in follows)

    @property
    def shown(self) -> tuple[CoderDifference, ...]:
        """The pairs that a terminal has room for."""
        return self.differences if len(self.ranked) <= MOST else self.steps


def coder_comparisons(rows: Sequence[Mapping], lines: Sequence[Line]) -> list[CoderComparison]:
    """From rows of `report_scores` and the lines made of them; empty where there is one coder."""
    coders = list(dict.fromkeys(line.coder for line in lines))
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None:
            scores[row["coder"], row["explainer"], row["scorer"]].append(row["score"])
    groups: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.score:
            groups[line.explainer, line.scorer].append(line)
    explainers = {line.explainer for line in lines if not line.alone}
    return [
        _comparison(
            scorer if len(explainers) == 1 or compared[0].alone else f"{explainer}/{scorer}",
            compared,
            coders,
            scores,
        )
        for (explainer, scorer), compared in groups.items()
        if len(compared) > 1
    ]


def _comparison(
    about: str,
    lines: Sequence[Line],
    coders: Sequence[str],
    scores: Mapping[tuple[str, str, str], Sequence[float]],
) -> CoderComparison:
    ranked = sorted(lines, key=lambda line: line.score.value if line.score else 0.0, reverse=True)
    pairs = list(combinations(ranked, 2))
    return CoderComparison(
        about,
        tuple(ranked),
        tuple(
            CoderDifference(
                first, second, difference(scores[first.key], scores[second.key], comparisons=len(pairs))
            )
            for first, second in pairs
        ),
        tuple(coder for coder in coders if coder not in {line.coder for line in lines}),
    )


def sentence(comparison: CoderComparison, *, gains: bool = True) -> str:
    """`detection: sae .60 > neurons .57 (+.03 [.01, .05]) > floor .50 (+.07 [.05, .09])`, or without `gains`."""
    chain = [f"{comparison.about}: {_coder(comparison.ranked[0])}"]
    chain += [_step(_coder(step.second), step.difference, gains=gains) for step in comparison.steps]
    last = comparison.ranked[-1]
    if last.above:
        chain.append(_step(f"floor {short_number(last.higher_floor)}", last.above, gains=gains))
    return " ".join(chain) + "".join(_besides(comparison, gains=gains))


def _besides(comparison: CoderComparison, *, gains: bool) -> Iterator[str]:
    """What the chain of the order does not say: pairs that its steps would tell wrongly, coders without a score."""
    is_told = [step.is_told for step in comparison.steps]
    for pair in comparison.differences:
        first, second = (comparison.order.index(line.coder) for line in (pair.first, pair.second))
        if pair.is_told != any(is_told[first:second]):
            yield f"; {pair.first.coder} {_step(pair.second.coder, pair.difference, gains=gains)}"
    if comparison.without:
        yield f"; no score of {', '.join(comparison.without)}"


def _step(below: str, gain: Estimate, *, gains: bool) -> str:
    """`> neurons .57`, with how much higher."""
    sign = ">" if gain.low > 0 else "<" if gain.high < 0 else "~"
    return f"{sign} {below} ({_gain(gain)})" if gains else f"{sign} {below}"


def _coder(line: Line) -> str:
    return f"{line.coder} {short_number(line.score.value if line.score else None)}"


def _gain(gain: Estimate) -> str:
    """`+.03 [.01, .05]`."""
    value = f"{'+' if gain.value >= 0 else ''}{short_number(gain.value)}"
    ends = "" if isnan(gain.low) else f" [{short_number(gain.low)}, {short_number(gain.high)}]"
    return value + ends


def order(comparisons: Sequence[CoderComparison]) -> list[str]:
    """The order of the coders in a few lines, after a line that says what its signs mean."""
    return [ORDER, *(f"  {sentence(comparison, gains=False)}" for comparison in comparisons)]


def grid(comparisons: Sequence[CoderComparison]) -> Grid:
    """The differences for a terminal of 80 columns."""
    grid = terminal_table(
        name_column("scorer"),
        name_column("coders"),
        *map(number_column, ("n", "means", "difference")),
        title="Differences of coders, with 95 % intervals",
        caption=LEGEND,
    )
    for comparison in comparisons:
        rows = [_pair_cells(pair) for pair in comparison.shown] + _floor_cells(comparison.ranked[-1])
        for place, (names, *numbers) in enumerate(rows):
            grid.add_row(NameCell("" if place else comparison.about), NameCell(names), *numbers)
    return grid


def _pair_cells(pair: CoderDifference) -> list[str]:
    means = [short_number(line.score.value) for line in (pair.first, pair.second) if line.score]
    names = f"{pair.first.coder} minus {pair.second.coder}"
    return [names, f"{pair.first.n:,} {pair.second.n:,}", " ".join(means), _gain(pair.difference)]


def _floor_cells(last: Line) -> list[list[str]]:
    """The margin of the last coder; nothing where no floor was measured."""
    if not last.above or last.higher_floor is None:
        return []
    means = " ".join(map(short_number, (last.higher_floor + last.above.value, last.higher_floor)))
    return [[f"{last.coder} minus floor", f"{last.above.n:,}", means, _gain(last.above)]]


def table(comparisons: Sequence[CoderComparison]) -> list[dict[str, object]]:
    """All pairs, for Prefect's page."""
    return [
        {
            "scores": comparison.about,
            "first": f"{pair.first.coder} {interval(pair.first.score)}",
            "second": f"{pair.second.coder} {interval(pair.second.score)}",
            "difference": interval(pair.difference, sign=True),
            "features": f"{pair.first.n:,} {pair.second.n:,}",
            "told apart": "yes" if pair.is_told else "no",
        }
        for comparison in comparisons
        for pair in comparison.differences
    ]
