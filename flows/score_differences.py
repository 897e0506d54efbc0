"""Differences of mean scores in a report: two explainers on the features that both explained."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from rich.table import Table as Grid

from flows.report_scores import cell, interval
from flows.terminal import NameCell, name_column, number_column
from flows.terminal import table as terminal_table
from tasks.metrics import Estimate, false_discovery_rates, lowest, margin, mean, paired_p

Scores = Mapping[int, float]
"""By feature."""


@dataclass(frozen=True)
class Difference:
    """How much higher the mean of one kind of scores is than that of another."""

    about: str
    """What both have in common: coder, explainer, scorer, as far as they are the same."""
    first: str
    second: str
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


def differences(rows: Sequence[Mapping]) -> list[Difference]:
    """From rows of coder, explainer, scorer, feature and score, where a feature has one."""
    scores: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row["score"] is not None:
            scores[row["coder"], row["explainer"], row["scorer"]][row["feature"]] = row["score"]
    measures: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        measures[row["scorer"]].add(row["measure"])
    pairs = list(_explainers(scores))
    rates = false_discovery_rates([paired_p(pair.values, pair.others) for pair in pairs])
    return [_difference(pair, q, lowest(measures[pair.scorer])) for pair, q in zip(pairs, rates, strict=True)]


def _explainers(scores: Mapping[tuple[str, str, str], Scores]) -> Iterator[_Pair]:
    for (first, second), coder, scorer in _combined(scores):
        ours, theirs = scores[coder, first, scorer], scores[coder, second, scorer]
        common = sorted(ours.keys() & theirs.keys())
        if common:
            values = ([given[feature] for feature in common] for given in (ours, theirs))
            yield _Pair(scorer, f"{coder}/{scorer}", first, second, *values)


def _combined(keys: Mapping[tuple[str, str, str], Scores]) -> Iterator[tuple[tuple[str, str], str, str]]:
    explainers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for coder, explainer, scorer in keys:
        explainers[coder, scorer].append(explainer)
    for (coder, scorer), names in explainers.items():
        for first, second in combinations(names, 2):
            yield (first, second), coder, scorer


def _difference(pair: _Pair, q: float, least: float) -> Difference:
    means = mean(pair.values, least), mean(pair.others, least)
    return Difference(pair.about, pair.first, pair.second, *means, margin(pair.values, pair.others), q)


def grid(differences: Sequence[Difference]) -> Grid:
    """The table for a terminal of 80 columns, each interval below its number."""
    grid = terminal_table(
        name_column("scores"),
        *map(number_column, ("n", "first", "second", "difference", "q")),
        title="Differences of mean scores, with 95 % intervals",
        caption="two explainers: paired, over the features that both explained\n"
        "q: the false discovery rate at which it counts, among all of this table",
    )
    for row in differences:
        grid.add_row(
            NameCell(f"{row.about} {row.first} minus {row.second}"),
            f"{row.difference.n:,}",
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
            "features": f"{row.difference.n:,}",
            "q": round(row.q, 4),
        }
        for row in differences
    ]
