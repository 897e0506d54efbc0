"""Names and prose use the words of CONTRIBUTING's section "Language", and none that it lists as not used any more."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
# Scripts that made files of the demo and of the tests once, kept as they were run, and files that others wrote or that
# are hashed.
EXEMPT = re.compile(
    r"CHANGELOG\.md|deployments/demo/(corpus\.py|licences/.*)|tests/toy/.*|.*\.prompt\.txt|.*\.shots\.yaml|.*/snapshots/.*|tests/test_language\.py"
)
TRACKED = [
    ROOT / name
    for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    if not EXEMPT.fullmatch(name) and (ROOT / name).is_file()
]
PYTHON = [file for file in TRACKED if file.suffix == ".py"]
SQL = [file for file in TRACKED if file.suffix == ".sql"]
UNAMBIGUOUS = re.compile(r"\b(dear|hangs? on|astray|aside|whose it is)\b", re.IGNORECASE)


def _unused() -> tuple[set[str], set[str]]:
    """Words that no name contains, and names that nothing has, from the table in CONTRIBUTING.md."""
    table = CONTRIBUTING.read_text(encoding="utf-8").split("| not | but |", 1)[1].split("\n\n", 1)[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    whole = [cell for cell in cells if "whole names" in cell]
    return (
        {word for cell in cells if cell not in whole for word in re.findall(r"`(\w+)`", cell)},
        {word for cell in whole for word in re.findall(r"`(\w+)`", cell)},
    )


WORDS, NAMES = _unused()


def _is_unused(name: str) -> bool:
    """Whether a name contains one of the words (also as `atWork` or `at_work`), or is one of the names."""
    parts = "_".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).lower()
    return name.strip("_") in NAMES or any(f"_{word}_" in f"_{parts}_" for word in WORDS)


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a module gives, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(ctx=ast.Store(), id=name, lineno=line):
                yield line, name
            case ast.Attribute(ctx=ast.Store(), attr=name, lineno=line):
                yield line, name
            case ast.arg(arg=name, lineno=line) | ast.FunctionDef(name=name, lineno=line):
                yield line, name
            case ast.AsyncFunctionDef(name=name, lineno=line) | ast.ClassDef(name=name, lineno=line):
                yield line, name
            case ast.ExceptHandler(name=str(name), lineno=line) | ast.alias(asname=str(name), lineno=line):
                yield line, name
            case _:
                pass


def _file(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_the_table_of_words_is_read() -> None:
    """The words come from CONTRIBUTING.md, where people look them up."""
    assert {"aside", "astray", "at_work", "behind", "said"} <= WORDS
    assert {"found", "one", "here", "some"} == NAMES


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("what_was_said", True),
        ("at_work", True),
        ("AtWork", True),
        ("_found", True),
        ("found_by", False),
        ("insider", False),
    ],
)
def test_words_are_told_from_parts_of_words(name: str, unused: bool) -> None:
    """A word counts between underscores or capitals, a whole name only by itself."""
    assert unused == _is_unused(name)


def test_no_name_has_a_word_that_is_not_used() -> None:
    """Of modules, classes, functions, tests, parameters, attributes and variables."""
    named = [
        f"{_file(file)}:{line} {name}"
        for file in PYTHON
        for line, name in _names(ast.parse(file.read_text(encoding="utf-8")))
        if _is_unused(name)
    ]
    assert [] == named


def test_no_file_has_a_word_that_is_not_used() -> None:
    """Nor has a folder, whatever the kind of file."""
    parts = {part for file in TRACKED for part in _file(file).split("/")}
    assert [] == sorted(part for part in parts if _is_unused(part.partition(".")[0].replace("-", "_")))


def test_no_sql_name_has_a_word_that_is_not_used() -> None:
    """Of tables, columns, aliases and parameters; comments and texts are prose."""
    named = [
        f"{_file(file)} {name}"
        for file in SQL
        for name in re.findall(r"\w+", re.sub(r"'[^']*'|--[^\n]*", "", file.read_text(encoding="utf-8")))
        if _is_unused(name)
    ]
    assert [] == named


def _prose(file: Path) -> Iterator[tuple[int, str]]:
    """Comments and docstrings of Python, whole files elsewhere, line by line."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING}:
            yield from enumerate(token.string.splitlines(), token.start[0])


def test_no_prose_has_an_unambiguous_one() -> None:
    """Comments, texts, docs and configs; but for the table that lists the words."""
    lines = [
        f"{_file(file)}:{number} {line.strip()}"
        for file in TRACKED
        if file.suffix in {".md", ".py", ".sql", ".toml", ".yaml", ".yml"} or file.name == "Makefile"
        for number, line in _prose(file)
        if UNAMBIGUOUS.search(line) and not (file == CONTRIBUTING and line.startswith("|"))
    ]
    assert [] == lines
