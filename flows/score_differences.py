"""Differences of mean scores in a report: two explainers on the same features, a coder and one of random weights."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from rich.table import Table as Grid

from flows.report_scores import cell, interval
from flows.report_setup import ReportSetup
from flows.terminal import NameCell, name_column, number_column, one_line
from flows.terminal import table as terminal_table
from tasks.metrics import (
    Estimate,
    difference,
    false_discovery_rates,
    lowest,
    margin,
    mean,
    paired_p,
    unpaired_p,
)

Scores = Mapping[int, float]
"""By feature."""


@dataclass(frozen=True)
class Difference:
    """How much higher the mean of one kind of scores is than that of another."""

    about: str
    """What both have in common: coder, explainer, scorer, as far as they are the same."""
    first: str
    second: str
    paired: bool
    """Whether both are over the same features."""
    first_mean: Estimate
    second_mean: Estimate
    difference: Estimate
    q: float
    """Least false discovery rate at which it counts, among all differences of the report."""


@dataclass(frozen=True)
class _Pair:
    scorer: str
    about: str
    first: str
    second: str
    values: list[float]
    others: list[float]
    paired: bool


def differences(rows: Sequence[Mapping], setup: ReportSetup) -> list[Difference]:
    """From rows of coder, explainer, scorer, feature and score, where a feature has one.

    Scorers that need no explanation stand there once.
    """
    scores: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row["score"] is not None:
            scores[row["coder"], row["explainer"], row["scorer"]][row["feature"]] = row["score"]
    measures: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        measures[row["scorer"]].add(row["measure"])
    pairs = [*_explainers(scores), *_random_coders(scores, setup)]
    tests = [(paired_p if pair.paired else unpaired_p)(pair.values, pair.others) for pair in pairs]
    rates = false_discovery_rates(tests)
    return [_difference(pair, q, lowest(measures[pair.scorer])) for pair, q in zip(pairs, rates, strict=True)]


def _explainers(scores: Mapping[tuple[str, str, str], Scores]) -> Iterator[_Pair]:
    for (first, second), coder, scorer in _combined(scores):
        ours, theirs = scores[coder, first, scorer], scores[coder, second, scorer]
        common = sorted(ours.keys() & theirs.keys())
        if common:
            values = ([given[feature] for feature in common] for given in (ours, theirs))
            yield _Pair(scorer, f"{coder}/{scorer}", first, second, *values, paired=True)


def _combined(keys: Mapping[tuple[str, str, str], Scores]) -> Iterator[tuple[tuple[str, str], str, str]]:
    explainers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for coder, explainer, scorer in keys:
        explainers[coder, scorer].append(explainer)
    for (coder, scorer), names in explainers.items():
        for first, second in combinations(names, 2):
            yield (first, second), coder, scorer


def _random_coders(scores: Mapping[tuple[str, str, str], Scores], setup: ReportSetup) -> Iterator[_Pair]:
    for (coder, explainer, scorer), own in scores.items():
        for other in setup.random_coders.get(coder, ()):
            random = scores.get((other, explainer, scorer))
            if random:
                about = scorer if explainer == "-" else f"{explainer}/{scorer}"
                values = list(own.values()), list(random.values())
                yield _Pair(scorer, about, coder, other, *values, paired=False)


def _difference(pair: _Pair, q: float, least: float) -> Difference:
    estimate = (margin if pair.paired else difference)(pair.values, pair.others)
    means = mean(pair.values, least), mean(pair.others, least)
    return Difference(pair.about, pair.first, pair.second, pair.paired, *means, estimate, q)


def grid(differences: Sequence[Difference]) -> Grid:
    """The table for a terminal of 80 columns, each interval below its number."""
    captions = {
        True: "two explainers: paired, over the features that both explained",
        False: "a random coder is a floor: random weights at the same site, other features",
    }
    grid = terminal_table(
        name_column("scores"),
        *map(number_column, ("n", "first", "second", "difference", "q")),
        title="Differences of mean scores, with 95 % intervals",
        caption="\n".join(
            [captions[paired] for paired in (True, False) if any(d.paired == paired for d in differences)]
            + ["q: the false discovery rate at which it counts, among all of this table"]
        ),
    )
    for row in differences:
        grid.add_row(
            NameCell(f"{row.about} {row.first} minus {row.second}"),
            _counts(row),
            cell(row.first_mean),
            cell(row.second_mean),
            cell(row.difference, sign=True),
            f"{row.q:.3f}",
        )
    return grid


def table(differences: Sequence[Difference]) -> list[dict[str, object]]:
    """The same for Prefect's page."""
    return [
        {
            "scores": row.about,
            "first": f"{row.first} {interval(row.first_mean)}",
            "second": f"{row.second} {interval(row.second_mean)}",
            "difference": interval(row.difference, sign=True),
            "paired": "yes" if row.paired else "no",
            "features": one_line(_counts(row)),
            "q": round(row.q, 4),
        }
        for row in differences
    ]


def _counts(row: Difference) -> str:
    if row.paired:
        return f"{row.difference.n:,}"
    return f"{row.first_mean.n:,}\n{row.second_mean.n:,}"
