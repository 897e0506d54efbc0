"""A query's answer for people: a grid where the columns fit, blocks of one line per column where they don't.

Nothing is left out without a word: rows beyond a bound and what is cut from long lists are counted.

Values as a terminal shows them: numbers rounded, nothing invisible, long lists cut and their rest counted.
"""

import re
from functools import singledispatch
from itertools import islice
from math import ceil

import duckdb
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from flows.terminal import JOINERS, code, one_line
from storage.summary import quoted


def spelled(value: object, room: int) -> str:
    """A value on one line: lists and structs in about `room` characters, text in full.

    Quotes show where a text has spaces at its ends, as tokens do.
    """
    if isinstance(value, str) and value and value == value.strip():
        return _shown(value)
    return _inside(value, room)


@singledispatch
def _inside(value: object, _room: int) -> str:
    return "null" if value is None else str(value)


@_inside.register(bool)
def _(value: object, _room: int) -> str:
    return str(value).lower()


@_inside.register
def _(value: float, _room: int) -> str:
    return f"{value:.1f}" if 1_000 <= abs(value) < 1e15 else f"{value:.4g}"


@_inside.register
def _(value: str, _room: int) -> str:
    return f'"{_shown(value)}"'


@_inside.register
def _(value: dict, room: int) -> str:
    return "{" + ", ".join(f"{_shown(name)}: {_inside(part, room)}" for name, part in value.items()) + "}"


@_inside.register
def _(value: tuple, room: int) -> str:
    """An entry of a map, or what Arrow makes an interval."""
    return ": ".join(_inside(part, room) for part in value) if len(value) == 2 else str(value)


@_inside.register
def _(value: list, room: int) -> str:
    said: list[str] = []
    left = room
    for item in value:
        text = _inside(item, room)
        left -= len(text) + 2
        if said and left < 0:
            break
        said.append(text)
    more = len(value) - len(said)
    return f"[{', '.join([*said, f'… {more} more'] if more else said)}]"


def _shown(text: str) -> str:
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character.isprintable() or character in JOINERS:
        return character
    return code(character)


CUT = re.compile(r"… \d+ more]")
"""The end of a list that is cut."""

ROWS = 200
"""Rows of a grid on a terminal."""
BLOCKS = 20
"""Blocks on a terminal."""
UNSCROLLED = 10_000
"""Rows of either in a file or a pipe."""
COUNTED = 1_000_000
"""Rows that are counted behind the last one shown."""

NARROW = 24
"""Columns are not made narrower than this, and those that are narrower already keep their width."""
TALL = 8
"""Lines that a row of a grid may have; longer text reads better in a block."""
LIST = 40
"""Characters of a list in a grid, and lists of a block have two lines."""
BETWEEN = 2
"""Characters between two columns; one of them is the box's."""
NUMBERS = {
    "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint",
    "uhugeint", "float", "double", "decimal",
}  # fmt: skip
TIMES = {
    "date", "time", "time_tz", "time_ns", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns",
    "timestamp with time zone", "time with time zone", "interval",
}  # fmt: skip


def show(answer: duckdb.DuckDBPyRelation, console: Console) -> None:
    """Print an answer."""
    names = [one_line(name) for name in answer.columns]
    bound = ROWS if console.is_terminal else UNSCROLLED
    with _for_python(answer).to_arrow_reader(1_000) as reader:
        coming = (
            row for batch in reader for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
        )
        rows = list(islice(coming, bound))
        if names == ["explain_key", "explain_value"]:
            console.print("\n".join(row[1] for row in rows), soft_wrap=True)
            return
        cells = [[spelled(value, LIST) for value in row] for row in rows]
        if _fits(names, cells, console.width):
            shown = len(rows)
            console.print(_grid(names, [kind.id in NUMBERS for kind in answer.types], rows, cells))
        else:
            shown = min(len(rows), BLOCKS) if console.is_terminal else len(rows)
            cells = _blocks(names, rows[:shown], console)
        rest = len(rows) - shown + sum(1 for _ in islice(coming, COUNTED))
    _conclude(shown, rest, console, cut=any(CUT.search(cell) for row in cells for cell in row))


def _for_python(answer: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """An answer whose days and times are spelled by DuckDB: it has infinite ones and some beyond Python's years."""
    columns = zip(map(quoted, answer.columns), answer.types, strict=True)
    return answer.project(
        ", ".join(f"{name}::varchar as {name}" if kind.id in TIMES else name for name, kind in columns)
    )


def _fits(names: list[str], cells: list[list[str]], width: int) -> bool:
    """Whether a grid can be read: no column folded beyond `NARROW`, no row taller than `TALL`."""
    whole = _widths(names, cells)
    left = width - BETWEEN * (len(names) - 1) - sum(wide for wide in whole if wide <= NARROW)
    long = [wide for wide in whole if wide > NARROW]
    return left >= NARROW * len(long) and all(ceil(wide / (left / len(long))) <= TALL for wide in long)


def _widths(names: list[str], cells: list[list[str]]) -> list[int]:
    return [max(map(cell_len, (name, *(row[place] for row in cells)))) for place, name in enumerate(names)]


def _grid(names: list[str], numbers: list[bool], rows: list[tuple], cells: list[list[str]]) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, BETWEEN - 1, 0, 0))
    for name, number, wide in zip(names, numbers, _widths(names, cells), strict=True):
        grid.add_column(
            Text(name),
            justify="right" if number else "left",
            no_wrap=wide <= NARROW,
            min_width=min(wide, NARROW),
            overflow="fold",
        )
    for row, said in zip(rows, cells, strict=True):
        grid.add_row(*(_styled(value, cell) for value, cell in zip(row, said, strict=True)))
    return grid


def _blocks(names: list[str], rows: list[tuple], console: Console) -> list[list[str]]:
    """Print each row as a block, its nulls by name in the last line; returns what the cells say."""
    room = 2 * (console.width - max(map(cell_len, names)) - BETWEEN) - NARROW
    cells = [[spelled(value, room) for value in row] for row in rows]
    for number, (row, said) in enumerate(zip(rows, cells, strict=True), start=1):
        console.print(Rule(Text(f"row {number}"), align="left", style="dim"))
        block = Grid.grid(padding=(0, BETWEEN, 0, 0))
        block.add_column(no_wrap=True, style="bold")
        block.add_column(overflow="fold")
        for name, value, cell in zip(names, row, said, strict=True):
            if value is not None:
                block.add_row(Text(name), Text(cell))
        if nulls := [name for name, value in zip(names, row, strict=True) if value is None]:
            block.add_row(Text("null", style="dim"), Text(", ".join(nulls), style="dim"))
        console.print(block)
    return cells


def _styled(value: object, cell: str) -> Text:
    return Text(cell, style="dim" if value is None else "")


def _conclude(shown: int, rest: int, console: Console, *, cut: bool) -> None:
    said = []
    if not shown:
        said.append("no rows")
    if rest:
        more = f"more than {COUNTED:,}" if rest >= COUNTED else f"{rest:,}"
        said.append(f"… {more} more rows; --format csv has all of them")
    if cut:
        said.append("lists are cut at …; --format json has them whole")
    for line in said:
        console.print(Text(line, style="dim"), soft_wrap=True)
