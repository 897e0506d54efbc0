"""docs/tables.md: every table with its grain and its columns, generated from `storage/tables.py`.

`python docs/generate/tables.py` writes it; `--check` only says whether it is current.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from storage import summary
from storage.table import Table, field_metadata, type_name
from storage.tables import TABLES

FILE = Path(__file__).parents[1] / "tables.md"

INTRODUCTION = """\
# Tables

Generated from `storage/tables.py` by `make docs`; edit that file, not this one.

A lake holds these tables as Parquet parts. `gloss sql "select ..."` has each of them as a view, with the column `run`
in front, and the view [`summary`](#summary) over all of them; [ten worked questions](sql.md) show how they join.
`gloss tables TABLE` prints what stands here. A column is null only where "null when" says what null means.
"""

SCORER = "<scorer>"
"""What stands on the page for a scorer's name."""

SUMMARY = f"""\
A view, and no table: {summary.GRAIN}. `{SCORER}` stands for the name of each scorer of the attached runs: with
scorers called detection and fuzzing there are `detection`, `detection_floor`, `fuzzing` and so on. Where another
column is called so, `_` stands behind the name; `gloss tables summary` shows the columns of a lake. For each explainer
the features that are `explained`, `failed`, `skipped` and `not chosen` add up to the width of the coder.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_contents(TABLES.values()), *_sections(TABLES.values()), *_summary()])


def _contents(tables: Iterable[Table]) -> Iterator[str]:
    yield "| table | grain |"
    yield "|---|---|"
    for table in tables:
        yield f"| [`{table.name}`](#{table.name}) | {table.grain} |"
    yield f"| [`{summary.NAME}`](#{summary.NAME}) | {summary.GRAIN} |"
    yield ""


def _sections(tables: Iterable[Table]) -> Iterator[str]:
    for table in tables:
        yield f"## {table.name}"
        yield ""
        yield f"{_sentence(table.grain)} A row is identified by {_listed(table.keys)};"
        yield f"inside a part rows are sorted by {_listed(table.order)}."
        yield ""
        yield from _columns(table.schema)


def _summary() -> Iterator[str]:
    yield f"## {summary.NAME}"
    yield ""
    yield SUMMARY
    yield from _columns(summary.schema((SCORER,)))


def _columns(schema: pa.Schema) -> Iterator[str]:
    yield "| column | type | unit | meaning | null when |"
    yield "|---|---|---|---|---|"
    for field in schema:
        yield _row(field)
    yield ""


def _row(field: pa.Field) -> str:
    metadata = field_metadata(field)
    cells = [
        f"`{field.name}`",
        f"`{type_name(field.type)}`",
        *(metadata.get(key, "") for key in ("unit", "doc", "null")),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> int:
    """Write the page, or compare it with what is there."""
    parser = argparse.ArgumentParser(description="Write docs/tables.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when it is not current")
    if not parser.parse_args().check:
        FILE.write_text(page(), encoding="utf-8")
        return 0
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write("docs/tables.md is not what storage/tables.py says; run make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
