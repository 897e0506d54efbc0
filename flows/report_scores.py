"""The table of scores in a report: mean score of each scorer over all features, floor and margin over the control."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean
from typing import NamedTuple

from rich.table import Table as Grid

from flows.report_setup import ReportSetup
from flows.terminal import NameCell, name_column, number_column, one_line, short_number
from flows.terminal import table as terminal_table
from tasks.metrics import Estimate, lowest, margin, mean

LEVEL = 0.05
"""False discovery rate at which scores are counted as above the floor."""
FEW_FLOORS = 100
"""With fewer floors than these a score cannot rank high enough unless most do."""
SPOKEN = {"auroc": "AUROC", "pearson": "correlation"}
"""Display names of measures that differ from their column."""
NOT_MEASURED = "not measured"
FLOOR = "the score with another feature's explanation; for scorers without explanation, with other features' contexts"
UNEXPLAINED = (
    "unexplained: the same questions with a description that says nothing, which is what a reader reaches without an "
    "explanation; an explanation is worth what it scores above the higher of both floors, the margin"
)
COUNTS = (
    "n: features with a score; below it, where they are others, those that floor and margin are over (of three numbers "
    "the second is the floor's, the third the margin's)"
)
RANDOM = "random weights, a floor of the trained coders at their site"
"""What is said of coders of kind `random`."""
TUNED = (
    "the baseline reader counts words, by thresholds that were set on a toy's features, so its scores cannot be "
    "compared with published ones"
)
"""What is said of scores that the baseline reader had part in."""


class Varied(NamedTuple):
    """Of what a run has several, so that names have to say which."""

    coders: bool = False
    explainers: bool = False


@dataclass(frozen=True)
class Line:
    """One scorer on one explainer's explanations of one coder; `n` of each number says over how many features it is."""

    coder: str
    explainer: str
    scorer: str
    alone: bool
    """Whether the scorer needs no explanation."""
    measures: tuple[str, ...]
    """What its scores are; one, unless some features have fewer kinds of contexts than others."""
    chance: float | None
    """None where it is not known."""
    score: Estimate | None
    """Mean over all features that have one; None where none has."""
    floor: Estimate | None
    """Mean over the features of the control that have a score and a floor."""
    above: Estimate | None
    """Mean of score minus the higher floor, over the features that have both: the smaller margin of two."""
    higher_floor: float | None
    """Mean of that floor, over the same features."""
    unexplained: Estimate | None
    """Mean with a description that says nothing, over the features of the control that have a score."""
    unscored: int
    """Features that were judged and have no score: all judgements of a class failed, or activations do not vary."""
    failed: float
    """Share of judgements without an answer, over all features that were judged."""
    above_floor: tuple[int, int] = (0, 0)
    """Scores above the floor at `LEVEL`, and all that were compared with it."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Coder, explainer and scorer."""
        return self.coder, self.explainer, self.scorer

    def name(self, varied: "Varied") -> str:
        """Its name in a report."""
        return who(*self.key, alone=self.alone, varied=varied)

    @property
    def n(self) -> int:
        """Features with a score."""
        return self.score.n if self.score else 0

    @property
    def controlled(self) -> int:
        """Features with a score and a floor."""
        return self.floor.n if self.floor else 0


def lines(rows: Sequence[Mapping], above: Sequence[Mapping], setup: ReportSetup) -> list[Line]:
    """From rows of `report_scores` and of `report_above`; coders and explainers stand side by side under a scorer."""
    groups: dict[tuple[str, str, str], list[Mapping]] = defaultdict(list)
    for row in rows:
        groups[row["coder"], row["explainer"], row["scorer"]].append(row)
    counts = {(row["coder"], row["explainer"], row["scorer"]): (row["above"], row["scored"]) for row in above}
    made = [
        _line(key, feature_rows, counts.get(key, (0, 0)), setup.chances.get(key[2]))
        for key, feature_rows in groups.items()
    ]
    return sorted(made, key=lambda line: (line.alone, line.scorer, setup.place(line.coder)))


def _line(
    key: tuple[str, str, str],
    rows: Sequence[Mapping],
    above_floor: tuple[int, int],
    chance: float | None,
) -> Line:
    scored = [row for row in rows if row["score"] is not None]
    both = [row for row in scored if row["floor"] is not None]
    floors = [row["floor"] for row in both]
    unexplained = [row["unexplained"] for row in scored if row["unexplained"] is not None]
    judged = sum(row["n"] + row["n_failed"] for row in rows)
    above, higher_floor = _margin(scored)
    least = lowest(row["measure"] for row in scored)
    return Line(
        *key,
        alone=rows[0]["alone"],
        measures=tuple(sorted({row["measure"] for row in scored})),
        chance=chance,
        score=mean([row["score"] for row in scored], least) if scored else None,
        floor=mean(floors, least) if both else None,
        above=above,
        higher_floor=higher_floor,
        unexplained=mean(unexplained, least) if unexplained else None,
        unscored=len(rows) - len(scored),
        failed=sum(row["n_failed"] for row in rows) / judged if judged else 0.0,
        above_floor=above_floor,
    )


def _margin(rows: Sequence[Mapping]) -> tuple[Estimate | None, float | None]:
    """Over another feature's explanation, or over none, whichever leaves less, and its mean; None without either."""
    margins = [
        (margin([row["score"] for row in both], floors), fmean(floors))
        for floor in ("floor", "unexplained")
        if (both := [row for row in rows if row[floor] is not None])
        for floors in [[row[floor] for row in both]]
    ]
    return min(margins, key=lambda pair: pair[0].value, default=(None, None))


def told_apart(lines: Sequence[Line]) -> Varied:
    """Whether there is more than one coder, and more than one explainer, to tell apart."""
    coders, explainers = (
        {line.coder for line in lines},
        {line.explainer for line in lines if not line.alone},
    )
    return Varied(len(coders) > 1, len(explainers) > 1)


def has_unexplained(lines: Sequence[Line]) -> bool:
    """Whether any score was measured without an explanation, which older lakes lack."""
    return any(line.unexplained for line in lines)


def grid(lines: Sequence[Line], setup: ReportSetup) -> Grid:
    """The table for a terminal of 80 columns, each interval below its number."""
    unexplained = ["mean un-\nexplained"] if has_unexplained(lines) else []
    names = ("n", "failed", "chance", "mean\nscore", "mean\nfloor", *unexplained, "mean\nmargin")
    grid = terminal_table(
        name_column("scorer"),
        *map(number_column, names),
        title="Scores, with 95 % intervals",
        caption="\n".join(map(one_line, caption(lines, setup))),
    )
    for line in lines:
        grid.add_row(
            NameCell(line.name(told_apart(lines))),
            _counts(line),
            f"{line.failed:.0%}",
            "" if line.chance is None else f"{line.chance:.2f}",
            cell(line.score),
            cell(line.floor),
            *([_unexplained(line, cell)] if has_unexplained(lines) else []),
            cell(line.above, sign=True),
        )
    return grid


def _counts(line: Line) -> str:
    """Features with a score; below them those that floor and margin are over, where those are others."""
    floors = [estimate.n for estimate in (line.floor, line.above) if estimate]
    below = floors if len(set(floors)) > 1 else [n for n in floors[:1] if n != line.n]
    return "\n".join(f"{n:,}" for n in (line.n, *below))


def _unexplained(line: Line, shown: Callable[[Estimate | None], str]) -> str:
    """Nothing where no explanation is needed."""
    return "" if line.alone else shown(line.unexplained)


def who(coder: str, explainer: str, scorer: str, *, alone: bool, varied: Varied) -> str:
    """The scorer; before it whose explanations it judged, of which coder, where there are several."""
    return "/".join(
        [
            *([coder] if varied.coders else []),
            *([explainer] if varied.explainers and not alone else []),
            scorer,
        ]
    )


def origin(coder: str, explainer: str, varied: Varied) -> str:
    """` of sae by exemplars`, as far as there are several."""
    return f"{f' of {coder}' if varied.coders else ''}{f' by {explainer}' if varied.explainers else ''}"


def caption(lines: Sequence[Line], setup: ReportSetup) -> list[str]:
    """What the numbers are, over which features, and who explained."""
    by = _by([line for line in lines if not line.alone], setup.readers)
    return [
        "; ".join(_measured(lines)),
        f"floor: {FLOOR}",
        *([UNEXPLAINED] if has_unexplained(lines) else []),
        *([COUNTS] if any("\n" in _counts(line) for line in lines) else []),
        *_unscored(lines),
        "; ".join(by),
        *([f"{RANDOM}: {', '.join(setup.random)}"] if setup.random else []),
        *([TUNED] if setup.has_baseline else []),
    ]


def _unscored(lines: Sequence[Line]) -> list[str]:
    """How many features have no score although they were judged; nothing where all have one."""
    varied = told_apart(lines)
    counts = [
        f"{line.name(varied)} {line.unscored:,} of {line.n + line.unscored:,}"
        for line in lines
        if line.unscored
    ]
    return (
        [f"features without a score, since judgements failed or activations do not vary: {', '.join(counts)}"]
        if counts
        else []
    )


def above_floor_counts(lines: Sequence[Line]) -> str:
    """How many scores are above the floor, by scorer; empty where no floor was measured."""
    varied = told_apart(lines)
    counts = [
        f"{line.name(varied)} {line.above_floor[0]:,} of {line.above_floor[1]:,}"
        for line in lines
        if line.above_floor[1]
    ]
    if not counts:
        return ""
    floors = "the floors" if has_unexplained(lines) else "the floor"
    sentence = f"Above {floors} at a false discovery rate of {LEVEL * 100:g} %: {', '.join(counts)}"
    measured = [estimate.n for line in lines for estimate in (line.floor, line.unexplained) if estimate]
    few = any(n < FEW_FLOORS for n in measured)
    return (
        f"{sentence}; with fewer than {FEW_FLOORS} control features a score can reach this rate only where most do"
        if few
        else sentence
    )


def table(lines: Sequence[Line]) -> list[dict[str, object]]:
    """The same for Prefect's page."""
    return [
        {
            "coder": line.coder,
            "explainer": line.explainer,
            "scorer": line.scorer,
            "measure": measures(line),
            "features": line.n,
            "without score": line.unscored,
            "in the control": line.controlled,
            "in the margin": line.above.n if line.above else 0,
            "failed": f"{line.failed:.0%}",
            "chance": "" if line.chance is None else f"{line.chance:.2f}",
            "mean score": interval(line.score),
            "mean floor": interval(line.floor),
            **({"mean unexplained": _unexplained(line, interval)} if has_unexplained(lines) else {}),
            "mean margin": interval(line.above, sign=True),
            f"above the floor at FDR {LEVEL:.0%}": (
                f"{line.above_floor[0]} of {line.above_floor[1]}" if line.above_floor[1] else ""
            ),
        }
        for line in lines
    ]


def _measured(lines: Sequence[Line]) -> list[str]:
    """What the scores are: `balanced accuracy: detection, fuzzing`, the measure of most scorers first."""
    scorers: dict[str, dict[str, None]] = defaultdict(dict)
    for line in lines:
        if line.score:
            scorers[measures(line)][line.scorer] = None
    most = sorted(scorers.items(), key=lambda measured: -len(measured[1]))
    return [f"{measure}: {', '.join(names)}" for measure, names in most]


def measures(line: Line) -> str:
    """`balanced accuracy`, `AUROC`."""
    return ", ".join(SPOKEN.get(measure, measure.replace("_", " ")) for measure in line.measures)


def _by(lines: Sequence[Line], readers: Mapping[str, str]) -> list[str]:
    """Who explained which coders: `explanations of sae, neurons: exemplars by the baseline reader`."""
    explainers: dict[str, dict[str, None]] = defaultdict(dict)
    for line in lines:
        reader = readers.get(line.explainer)
        explainers[line.coder][line.explainer + (f" by the {reader} reader" if reader else "")] = None
    coders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for coder, names in sorted(explainers.items()):
        coders[tuple(sorted(names))].append(coder)
    return [f"explanations of {', '.join(names)}: {', '.join(by)}" for by, names in coders.items()]


def cell(estimate: Estimate | None, *, sign: bool = False) -> str:
    """The number, and its interval below it."""
    if estimate is None:
        return NOT_MEASURED
    value = f"{estimate.value:{'+' if sign else ''}.2f}"
    return value if isnan(estimate.low) else f"{value}\n{ends(estimate)}"


def ends(estimate: Estimate) -> str:
    """`.42 .61`, `-.07 .03`: without zeros, so that more fits side by side."""
    return " ".join(map(short_number, (estimate.low, estimate.high)))


def interval(estimate: Estimate | None, *, sign: bool = False) -> str:
    """`0.71 [0.69, 0.73]`."""
    if estimate is None:
        return NOT_MEASURED
    spec = "+.2f" if sign else ".2f"
    if isnan(estimate.low):
        return f"{estimate.value:{spec}}"
    return f"{estimate.value:{spec}} [{estimate.low:{spec}}, {estimate.high:{spec}}]"
