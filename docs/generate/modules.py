"""docs/modules.md: every module with its first line, folder by folder, generated from the modules themselves.

`python -P docs/generate/modules.py` writes it; `--check` only says whether it is current.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).parents[1] / "modules.md"
PACKAGES = ("flows", "tasks", "storage", "benchmarks")

HEAD = """# Where everything is

Generated from the first line of each module by `make docs`. `flows` calls the tasks of `tasks/*.py`, these call the
code in the folders of `tasks`, and tables are read and written through `storage`; nothing imports upwards.
"""


def page() -> str:
    """The page's text."""
    sections = [_section(folder) for package in PACKAGES for folder in _folders(ROOT / package)]
    return "\n".join([HEAD, *sections])


def _folders(package: Path) -> Iterator[Path]:
    yield package
    yield from sorted(file.parent for file in package.rglob("__init__.py") if file.parent != package)


def _section(folder: Path) -> str:
    name = folder.relative_to(ROOT).as_posix()
    modules = sorted(file for file in folder.glob("*.py") if file.stem not in {"__init__", "__main__"})
    rows = [f"| [{file.name}](../{name}/{file.name}) | {first_line(file)} |" for file in modules]
    introduction = first_line(folder / "__init__.py")
    table = ["| module | what it holds |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## {name}/", "", *([introduction, ""] if introduction else []), *table])


def first_line(file: Path) -> str:
    """The first paragraph of a module's docstring on one line; empty where it has none."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n", maxsplit=1)[0].split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the page, or compare it with what is there."""
    parser = argparse.ArgumentParser(description="Write docs/modules.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when it is not current")
    if not parser.parse_args().check:
        FILE.write_text(page(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != page():
        sys.stderr.write("docs/modules.md is not current: run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
