"""Files that the pages and the decisions name in running text are there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

DECISIONS = {file.stem: file for file in sorted((ROOT / "docs" / "adr").glob("*.md"))}
FOLDERS = ("flows", "tasks", "storage", "deployments", "benchmarks", "docs", "tests")
FILES = {file.relative_to(ROOT).as_posix() for folder in FOLDERS for file in (ROOT / folder).rglob("*.*")}
NAMED = re.compile(r"`([A-Za-z_][\w./-]*\.(?:py|sql|sh|prompt\.txt|shots\.yaml))`")
"""A file of code or a prompt in backticks; other endings are those of users' files as well."""
ABSENT = {"utils.py"}
"""What is named because it is not there."""


@pytest.mark.parametrize("page", [*PAGES.values(), *DECISIONS.values()], ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """By its whole path, or by the end of it."""
    named = set(NAMED.findall(page.read_text(encoding="utf-8"))) - ABSENT
    missing = [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in FILES)]
    assert [] == missing
