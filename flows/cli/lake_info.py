"""`gloss tables`: every table with its rows and bytes, or one with its grain and its columns.

The lake that a question is about, and what of its runs is not there to answer with.

`gloss status`: how far each step of a run, or of all runs, is.
"""

import argparse
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import groupby

import pyarrow as pa
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from flows import terminal
from flows.terminal import one_line, say_error
from storage import runs, summary
from storage.errors import Damaged, WrongRequest
from storage.lake import Lake
from storage.runs import Uncommitted
from storage.table import field_metadata, type_name
from storage.tables import TABLES


def show_status(options: argparse.Namespace) -> int:
    """How far each step of a run, or of all runs, is."""
    lake, console = reached(options.lake), terminal.console()
    found, damage = ({options.run: runs.record(lake, options.run)}, []) if options.run else runs.records(lake)
    for name, record in found.items():
        grid = Grid(title=one_line(f"{name} in {lake.uri}"), title_justify="left", box=SIMPLE)
        for column in ("stage", "of", "state", "parts", "rows", "MB"):
            numbers = column in {"parts", "rows", "MB"}
            grid.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for step in runs.states(lake, record):
            damage += step.damage
            state = _state(step)
            rows = f"{step.rows:,}" if step.rows is not None else ""
            size = f"{step.bytes / 1e6:,.1f}"
            grid.add_row(step.stage, one_line(step.name), state, str(step.parts), rows, size)
        console.print(grid)
    say_damage(damage)
    return 0


def _state(step: runs.StepState) -> Text:
    if step.committed:
        return Text("complete", "green")
    if step.damage:
        return Text("damaged", "red")
    return Text("begun", "yellow") if step.parts else Text("to do")


NAMED = 3
"""Runs, and steps of each, that the line about what is missing names."""


def reached(uri: str) -> Lake:
    """A lake that answers. Raises `WrongRequest` for one that doesn't."""
    lake = Lake(uri)
    lake.check_reachable()
    return lake


def say_uncommitted(steps: tuple[Uncommitted, ...]) -> None:
    """One line on stderr about the steps whose rows the views lack; none where they lack nothing."""
    if not steps:
        return
    runs = [
        f"run {run} ({_some([f'{step.stage} of {step.name}' for step in found])})"
        for run, found in groupby(steps, key=lambda step: step.run)
    ]
    sentence = f"not committed yet, and so without rows here: {_some(runs)}; see gloss status"
    say_error("gloss:", sentence, "yellow")


def say_damage(damage: Iterable[Damaged]) -> None:
    """A line on stderr about each file of a lake that is damaged: what was asked is answered without it."""
    lines = dict.fromkeys(str(damaged) for damaged in damage)
    for line in lines:
        say_error("gloss:", f"{line}, and left out; gloss verify looks at the whole lake", "yellow")


def _some(words: list[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


NAMES = (*TABLES, summary.NAME)


def show_tables(options: argparse.Namespace) -> int:
    """Every table with what a lake holds of it, or one table with its columns."""
    name = options.table
    if name is not None and name not in NAMES:
        near = get_close_matches(name, NAMES, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        msg = f"{name} is not a table; the tables are {', '.join(NAMES)}{meant}"
        raise WrongRequest(msg)
    lake, console = reached(options.lake), terminal.console()
    if name is not None and not runs.names(lake):
        _show_columns(name, ("<scorer>",), console)
        console.print(f"Lake {lake.uri} holds no run, and so no rows.", soft_wrap=True)
        return 0
    with lake.connect() as connection:
        attached = runs.attach(lake, connection)
        (whole,) = connection.table(summary.NAME).count("*").fetchone() or (0,)
        sizes = runs.sizes(lake, connection, attached)
    if name is None:
        _show_all(lake, attached, {**sizes, summary.NAME: runs.Size(whole, 0)}, console)
    else:
        _show_columns(name, attached.scorers, console)
        size = sizes.get(name)
        said = f"{size.rows:,} rows, {_bytes(size.bytes)}" if size else f"{whole:,} rows of a view"
        console.print(f"{said} in {lake.uri}", soft_wrap=True)
    say_damage(attached.damage)
    say_uncommitted(attached.uncommitted)
    return 0


def _show_all(lake: Lake, attached: runs.Attached, sizes: dict[str, runs.Size], console: Console) -> None:
    title = f"tables in {one_line(lake.uri)}: {_runs(attached.runs)}"
    grid = Grid(title=title, title_justify="left", box=SIMPLE)
    grid.add_column("table")
    grid.add_column("rows", justify="right", no_wrap=True)
    grid.add_column("size", justify="right", no_wrap=True)
    grid.add_column("one row per")
    for name, size in sizes.items():
        rows, held = f"{size.rows:,}", "view" if name == summary.NAME else _bytes(size.bytes)
        grid.add_row(name, rows, held, _grain(name).removeprefix("one row per "))
    console.print(grid)
    console.print("gloss tables TABLE says what the columns of one mean.")


def _show_columns(name: str, scorers: tuple[str, ...], console: Console) -> None:
    console.print(Text.assemble((name, "bold"), f": {_grain(name)}"), soft_wrap=True)
    if name in TABLES:
        table = TABLES[name]
        keys, order = ", ".join(("run", *table.keys)), ", ".join(table.order)
        console.print(f"a row is identified by {keys}; a part is sorted by {order}")
    grid = Grid(box=SIMPLE, show_edge=False, pad_edge=False)
    grid.add_column("column", overflow="fold")
    grid.add_column("type", overflow="fold", max_width=max(16, console.width // 5))
    grid.add_column("meaning", ratio=1)
    schema = summary.schema(scorers) if name == summary.NAME else TABLES[name].schema
    for field in schema:
        grid.add_row(one_line(field.name), type_name(field.type), _meaning(field))
    console.print(grid)


def _meaning(field: pa.Field) -> str:
    metadata = field_metadata(field)
    unit = f" Unit: {metadata['unit']}." if "unit" in metadata else ""
    null = f" Null: {metadata['null']}." if "null" in metadata else ""
    return f"{metadata['doc']}{unit}{null}"


def _grain(name: str) -> str:
    return TABLES[name].grain if name in TABLES else summary.GRAIN


def _runs(names: tuple[str, ...]) -> str:
    return f"run {one_line(names[0])}" if len(names) == 1 else f"{len(names)} runs"


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
