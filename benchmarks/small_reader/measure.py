"""Figures from the tables of these runs: SQL asks them, `tasks/metrics.py` takes means over features."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from math import isnan
from typing import Any

import duckdb

from benchmarks.report import Figure
from benchmarks.small_reader.cases import EXPLAINERS, JUDGES, LAYOUTS, SCORERS
from benchmarks.small_reader.runs import EXPLAINED, JUDGED, scorer_name, values_run
from storage import runs
from storage.lake import Lake
from tasks.metrics import Estimate, margin, mean, wilson

Rows = Sequence[Mapping[str, Any]]


def figures(lake: Lake) -> list[Figure]:
    """All figures that the runs' tables have rows for."""
    with lake.connect() as connection:
        runs.create_views(lake, connection)
        return [
            *(
                figure
                for kind in SCORERS
                for figure in values(ask(connection, "own_and_other", values_run(kind)))
            ),
            *judged(ask(connection, "judged", JUDGED), ask(connection, "judged_scores", JUDGED)),
            *explained(ask(connection, "explained", EXPLAINED), ask(connection, "own_and_other", EXPLAINED)),
        ]


def values(rows: Rows) -> Iterator[Figure]:
    """Scores of true explanations and of shuffled ones, and how they differ, feature by feature."""
    for scorer, scored in _by(rows, "scorer").items():
        if scorer not in SCORERS:
            continue
        own, other = ([float(row[column]) for row in scored] for column in ("own", "other"))
        yield _figure(f"{scorer}: own", mean(own))
        yield _figure(f"{scorer}: other", mean(other))
        yield _figure(f"{scorer}: difference", margin(own, other))
        above = [(a > b) + (a == b) / 2 for a, b in zip(own, other, strict=True)]
        yield _figure(f"{scorer}: above", wilson(sum(above) / len(above), len(above)))


def judged(rows: Rows, scores: Rows) -> Iterator[Figure]:
    """What judges say in each layout, and how much of it is right."""
    counted, scored = {row["scorer"]: row for row in rows}, _by(scores, "scorer")
    for kind in JUDGES:
        for layout in LAYOUTS:
            name = scorer_name(kind, layout)
            if name not in counted:
                continue
            yield from _shares(name, counted[name], ("unreadable", "yes", "by_place"))
            if name in scored:
                right = [float(row["balanced_accuracy"]) for row in scored[name]]
                yield _figure(f"{name}: balanced accuracy", mean(right, 0.0))


def explained(rows: Rows, scores: Rows) -> Iterator[Figure]:
    """What explainers write in each layout, and what it is worth to an embedding model."""
    counted, scored = {row["explainer"]: row for row in rows}, _by(scores, "explainer")
    for layout in EXPLAINERS:
        if layout not in counted:
            continue
        yield from _shares(layout, counted[layout], ("explained", "copied", "cut", "untagged", "repeated"))
        if layout in scored:
            own, other = ([float(row[column]) for row in scored[layout]] for column in ("own", "other"))
            yield _figure(f"{layout}: embedding", mean(own, 0.0))
            yield _figure(f"{layout}: embedding over other", margin(own, other))


def _shares(name: str, row: Mapping[str, Any], columns: Sequence[str]) -> Iterator[Figure]:
    """Figures of one row; what is null, as a correlation without variance is, is left out."""
    for column in columns:
        value = row[column]
        if value is not None and not isnan(value):
            yield Figure(f"{name}: {column.replace('_', ' ')}", value, "", value, value, row["asked"])


def _figure(name: str, estimate: Estimate) -> Figure:
    """An estimate and its interval, whose ends are the value where there is none; `runs` are the features."""
    low, high = (estimate.value if isnan(end) else end for end in (estimate.low, estimate.high))
    return Figure(name, estimate.value, "", low, high, estimate.n)


def _by(rows: Rows, column: str) -> dict[str, Rows]:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return dict(groups)


def ask(connection: duckdb.DuckDBPyConnection, name: str, run: str) -> Rows:
    """The rows that `<name>.sql` makes of a run's views."""
    statement = files("benchmarks.small_reader").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return connection.execute(statement, {"run": run}).to_arrow_table().to_pylist()
