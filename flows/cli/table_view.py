"""A query's answer on a terminal: a table where the columns fit, else a block per row with one line per column.

Numbers are rounded, invisible characters are shown by their codes, long lists are cut. The rows and list items that are
left out are counted. No word is broken in a table: a row with a word that is too long for its column becomes a block.
"""

import re
from functools import singledispatch
from itertools import islice
from math import ceil

import duckdb
from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.table import Column
from rich.table import Table as Grid
from rich.text import Text

from flows.terminal import JOINERS, code, one_line, table
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
    items: list[str] = []
    left = room
    for item in value:
        text = _inside(item, room)
        left -= len(text) + 2
        if items and left < 0:
            break
        items.append(text)
    more = len(value) - len(items)
    return f"[{', '.join([*items, f'… {more} more'] if more else items)}]"


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
"""Rows of a table on a terminal."""
BLOCKS = 20
"""Blocks on a terminal."""
UNSCROLLED = 10_000
"""Rows of a table, or blocks, in a file or a pipe."""
COUNTED = 1_000_000
"""Rows that are counted after the last one shown."""

NARROW = 24
"""Columns are not made narrower than this, and those that are narrower already keep their width."""
TALL = 8
"""Lines that a row of a table may have; longer text reads better in a block."""
LIST = 40
"""Characters of a list in a table, and lists of a block have two lines."""
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


def show_answer(answer: duckdb.DuckDBPyRelation, console: Console) -> None:
    """Print the rows of a query."""
    names = [one_line(name) for name in answer.columns]
    bound = ROWS if console.is_terminal else UNSCROLLED
    with _for_python(answer).to_arrow_reader(1_000) as reader:
        remaining = (
            row for batch in reader for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
        )
        rows = list(islice(remaining, bound))
        if names == ["explain_key", "explain_value"]:
            console.print("\n".join(row[1] for row in rows), soft_wrap=True)
            return
        cells = [[spelled(value, LIST) for value in row] for row in rows]
        widths = _fitting_widths(names, cells, console.width)
        if widths:
            shown = len(rows)
            columns = [
                Column(
                    Text(name),
                    justify="right" if kind.id in NUMBERS else "left",
                    width=width,
                    overflow="fold",
                )
                for name, kind, width in zip(names, answer.types, widths, strict=True)
            ]
            console.print(_table(columns, rows, cells))
        else:
            shown = min(len(rows), BLOCKS) if console.is_terminal else len(rows)
            cells = _blocks(names, rows[:shown], console)
        rest = len(rows) - shown + sum(1 for _ in islice(remaining, COUNTED))
    _conclude(shown, rest, console, cut=any(CUT.search(cell) for row in cells for cell in row))


def _for_python(answer: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The answer with dates and times as DuckDB's text: it has infinite ones, and years that Python cannot hold."""
    columns = zip(map(quoted, answer.columns), answer.types, strict=True)
    return answer.project(
        ", ".join(f"{name}::varchar as {name}" if kind.id in TIMES else name for name, kind in columns)
    )


def _fitting_widths(names: list[str], cells: list[list[str]], width: int) -> list[int] | None:
    """The width of each column in a table that can be read; null where there is no such table.

    No word is broken, no column of text is narrower than `NARROW`, no row is taller than `TALL`.
    """
    columns = [[name, *(row[place] for row in cells)] for place, name in enumerate(names)]
    whole = [max(map(cell_len, texts)) for texts in columns]
    widths = [
        min(wide, max(NARROW, *map(_longest_word, texts))) for wide, texts in zip(whole, columns, strict=True)
    ]
    left = width - BETWEEN * (len(names) - 1) - sum(widths)
    if left < 0:
        return None
    while left and (growing := [place for place, wide in enumerate(whole) if widths[place] < wide]):
        for place in growing[:left]:
            widths[place] += 1
            left -= 1
    lines = max(ceil(wide / given) for wide, given in zip(whole, widths, strict=True))
    return widths if lines <= TALL else None


def _longest_word(text: str) -> int:
    """Columns of the terminal that the longest word takes; text of wide characters can be broken anywhere."""
    return max((cell_len(word) for word in text.split() if cell_len(word) <= len(word)), default=0)


def _table(columns: list[Column], rows: list[tuple], cells: list[list[str]]) -> Grid:
    grid = table(*columns, edges=False)
    for row, texts in zip(rows, cells, strict=True):
        grid.add_row(*(_styled(value, cell) for value, cell in zip(row, texts, strict=True)))
    return grid


def _blocks(names: list[str], rows: list[tuple], console: Console) -> list[list[str]]:
    """Print each row as a block, its nulls by name in the last line; returns the texts of the cells."""
    room = 2 * (console.width - max(map(cell_len, names)) - BETWEEN) - NARROW
    cells = [[spelled(value, room) for value in row] for row in rows]
    for number, (row, texts) in enumerate(zip(rows, cells, strict=True), start=1):
        console.print(Rule(Text(f"row {number}"), align="left", style="dim"))
        block = Grid.grid(padding=(0, BETWEEN, 0, 0))
        block.add_column(no_wrap=True, style="bold")
        block.add_column(overflow="fold")
        for name, value, cell in zip(names, row, texts, strict=True):
            if value is not None:
                block.add_row(Text(name), Text(cell))
        if nulls := [name for name, value in zip(names, row, strict=True) if value is None]:
            block.add_row(Text("null", style="dim"), Text(", ".join(nulls), style="dim"))
        console.print(block)
    return cells


def _styled(value: object, cell: str) -> Text:
    return Text(cell, style="dim" if value is None else "")


def _conclude(shown: int, rest: int, console: Console, *, cut: bool) -> None:
    lines = []
    if not shown:
        lines.append("no rows")
    if rest:
        more = f"more than {COUNTED:,}" if rest >= COUNTED else f"{rest:,}"
        lines.append(f"… {more} more rows; --format csv has all of them")
    if cut:
        lines.append("lists are cut at …; --format json has them whole")
    for line in lines:
        console.print(Text(line, style="dim"), soft_wrap=True)
