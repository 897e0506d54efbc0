"""docs/sql.md and README.md: puts a lake's answers below their questions, as a terminal of 80 columns shows them.

`python docs/generate/sql.py LAKE` after `make demo`; the questions are written on the pages themselves.
"""

import argparse
import io
import re
import sys
from pathlib import Path

from flows import terminal
from flows.cli import table_view
from flows.cli.lake_info import reachable_lake
from storage import runs

FILE = Path(__file__).parents[1] / "sql.md"
README = Path(__file__).parents[2] / "README.md"
RUN = "demo"
"""The run that answers."""

QUESTION = re.compile(r"(^```sql\n(.*?)^```\n\n)^```text\n.*?^```\n", re.MULTILINE | re.DOTALL)
"""A question and the block with its answer."""


def page(uri: str, text: str, run: str | None = None) -> str:
    """The page's text with the answers that a lake gives, or one run of it. Raises `WrongRequest` without a run."""
    lake = reachable_lake(uri)
    with lake.connect() as connection:
        runs.create_views(lake, connection, run)

        def answer(question: re.Match[str]) -> str:
            console = terminal.console(io.StringIO(), width=80)
            table_view.show_answer(connection.sql(question[2]), console)
            lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
            return f"{question[1]}```text\n{''.join(line.rstrip() + chr(10) for line in lines)}```\n"

        return QUESTION.sub(answer, text)


def main() -> int:
    """Write the pages."""
    parser = argparse.ArgumentParser(description="Write the answers in docs/sql.md and README.md.")
    parser.add_argument("lake", metavar="LAKE", help="the lake of make demo")
    uri = parser.parse_args().lake
    for file in (FILE, README):
        file.write_text(page(uri, file.read_text(encoding="utf-8"), RUN), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
