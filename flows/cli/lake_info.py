"""`gloss status` and `gloss tables`: the steps of a lake's runs, and its tables with their columns.

Also opens the lake for every command that reads one, and warns of damaged files and of steps without committed tables.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby

import pyarrow as pa
from rich.console import Console
from rich.padding import Padding
from rich.table import Column
from rich.table import Table as Grid
from rich.text import Text

from flows import terminal
from flows.terminal import NameCell, name_column, number_column, one_line, say_error
from storage import runs, summary
from storage.errors import Damaged, WrongRequest
from storage.lake import Lake
from storage.runs import Uncommitted
from storage.table import field_metadata, type_name
from storage.tables import TABLES


def show_status(options: argparse.Namespace) -> int:
    """Print the state of each step of a run, or of all runs."""
    lake, console = reachable_lake(options.lake), terminal.console()
    records, damage = (
        ({options.run: runs.record(lake, options.run)}, []) if options.run else runs.records(lake)
    )
    for name, record in records.items():
        steps = runs.states(lake, record)
        done = sum(step.committed for step in steps)
        title = f"{name} in {lake.uri}: {done} of {len(steps)} steps complete"
        console.print(Text(one_line(title), "italic"), soft_wrap=True)
        console.print(_steps_table(steps))
        damage += [damaged for step in steps for damaged in step.damage]
    say_damage(damage)
    return 0


def _steps_table(steps: Sequence[runs.StepState]) -> Grid:
    """A line per step below the name of its stage."""
    stages: Mapping[str, list[runs.StepState]] = defaultdict(list)
    for step in steps:
        stages[step.stage].append(step)
    grid = terminal.table(
        name_column("step"), Column("state", no_wrap=True), *map(number_column, ("parts", "rows", "MB"))
    )
    for stage, its_steps in stages.items():
        grid.add_row(Text(stage, "bold"))
        for step in its_steps:
            rows = f"{step.rows:,}" if step.rows is not None else ""
            size = f"{step.bytes / 1e6:,.1f}"
            grid.add_row(
                Padding(NameCell(step.name), (0, 0, 0, 2)), _state(step), str(step.parts), rows, size
            )
    return grid


def _state(step: runs.StepState) -> Text:
    if step.committed:
        return Text("complete", "green")
    if step.damage:
        return Text("damaged", "red")
    return Text("begun", "yellow") if step.parts else Text("to do")


NAMED = 3
"""Runs, and steps of each, that the line about uncommitted steps names at most."""


def reachable_lake(uri: str) -> Lake:
    """Open a lake. Raises `WrongRequest` for one that cannot be reached."""
    lake = Lake(uri)
    lake.check_reachable()
    return lake


def say_uncommitted(steps: tuple[Uncommitted, ...]) -> None:
    """Print one line on stderr that names the steps whose rows the views lack; nothing without such steps."""
    if not steps:
        return
    runs = [
        f"run {run} ({_first_few([f'{step.stage} of {step.name}' for step in of_run])})"
        for run, of_run in groupby(steps, key=lambda step: step.run)
    ]
    sentence = f"not committed yet, and so without rows here: {_first_few(runs)}; see gloss status"
    say_error("gloss:", sentence, "yellow")


def say_damage(damage: Iterable[Damaged]) -> None:
    """Print a line on stderr for each damaged file of a lake, which the answer leaves out."""
    lines = dict.fromkeys(str(damaged) for damaged in damage)
    for line in lines:
        say_error("gloss:", f"{line}, and left out; gloss verify looks at the whole lake", "yellow")


def _first_few(words: list[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


NAMES = (*TABLES, summary.NAME)


def show_tables(options: argparse.Namespace) -> int:
    """Print every table with its rows and bytes in the lake, or one table with its columns."""
    name = options.table
    if name is not None and name not in NAMES:
        near = get_close_matches(name, NAMES, 1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        msg = f"{name} is not a table; the tables are {', '.join(NAMES)}{suggestion}"
        raise WrongRequest(msg)
    lake, console = reachable_lake(options.lake), terminal.console()
    if name is not None and not runs.names(lake):
        _show_columns(name, ("<scorer>",), console)
        console.print(f"Lake {lake.uri} holds no run, and so no rows.", soft_wrap=True)
        return 0
    with lake.connect() as connection:
        attached = runs.create_views(lake, connection)
        (summary_rows,) = connection.table(summary.NAME).count("*").fetchone() or (0,)
        sizes = runs.sizes(lake, connection, attached)
    if name is None:
        _show_all(lake, attached, {**sizes, summary.NAME: runs.Size(summary_rows, 0)}, console)
    else:
        _show_columns(name, attached.scorers, console)
        size = sizes.get(name)
        rows = f"{size.rows:,} rows, {_bytes(size.bytes)}" if size else f"{summary_rows:,} rows of a view"
        console.print(f"{rows} in {lake.uri}", soft_wrap=True)
    say_damage(attached.damage)
    say_uncommitted(attached.uncommitted)
    return 0


def _show_all(lake: Lake, attached: runs.RunViews, sizes: dict[str, runs.Size], console: Console) -> None:
    title = f"tables in {one_line(lake.uri)}: {_runs(attached.runs)}"
    console.print(Text(title, "italic"), soft_wrap=True)
    grid = terminal.table(
        Column("table", no_wrap=True), number_column("rows"), number_column("size"), Column("one row per")
    )
    for name, size in sizes.items():
        bytes_or_view = "view" if name == summary.NAME else _bytes(size.bytes)
        grid.add_row(name, f"{size.rows:,}", bytes_or_view, _grain(name).removeprefix("one row per "))
    console.print(grid)
    console.print("gloss tables TABLE says what the columns of one mean.")


def _show_columns(name: str, scorers: tuple[str, ...], console: Console) -> None:
    console.print(Text.assemble((name, "bold"), f": {_grain(name)}"), soft_wrap=True)
    if name in TABLES:
        table = TABLES[name]
        keys, order = ", ".join(("run", *table.keys)), ", ".join(table.order)
        console.print(f"a row is identified by {keys}; a part is sorted by {order}")
    schema = summary.schema(scorers) if name == summary.NAME else TABLES[name].schema
    longest = max(map(len, ("column", *schema.names)))
    names = name_column("column", min(longest, console.width // 2))
    type_column = Column("type", overflow="fold", max_width=max(20, console.width // 5))
    grid = terminal.table(names, type_column, Column("meaning"), edges=False)
    for field in schema:
        grid.add_row(NameCell(field.name), type_name(field.type), _meaning(field))
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
