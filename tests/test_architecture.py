"""What no linter sees: who loads whom, what files are called, and that every table and statement explains itself."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pyarrow as pa
import pytest

import tasks
from storage.table import Table
from storage.tables import TABLES

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "deployments", "flows", "storage", "tasks")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
STATEMENTS = sorted((ROOT / "storage" / "sql").glob("*.sql"))
VERBS = sorted(file for file in (ROOT / "tasks").glob("*.py") if file.stem != "__init__")
NOUNS = sorted(f"tasks.{file.parent.name}" for file in (ROOT / "tasks").glob("*/__init__.py"))


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _loaded(module: str) -> set[str]:
    """Top-level modules that importing one loads into a fresh process."""
    code = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "tasks.coders",
        "tasks.contexts",
        "tasks.explainers",
        "tasks.llm.baseline.reader",
        "tasks.llm.readers",
        "tasks.correlations",
        "tasks.metrics",
        "tasks.scorers",
    ],
)
def test_pure_code_loads_neither_prefect_nor_torch(module: str) -> None:
    """Science runs, and is tested, without an orchestrator."""
    assert set() == _loaded(module) & {"prefect", "torch", "transformers"}


@pytest.mark.parametrize(
    "module", ["tasks.activations.collect", "tasks.llm.openai.client", "storage.lake", "storage.query"]
)
def test_heavier_code_loads_no_prefect(module: str) -> None:
    """As above, for what needs torch, HTTP or DuckDB."""
    assert "prefect" not in _loaded(module)


@pytest.mark.parametrize("module", ["flows.config", "flows.cli.main"])
def test_a_config_costs_neither_torch_nor_prefect(module: str) -> None:
    """`gloss --help`, a refused config and a question about a lake answer at once."""
    assert set() == _loaded(module) & {"prefect", "torch", "transformers"}


def test_a_command_loads_neither_models_nor_a_server_before_it_needs_them() -> None:
    """A finished cache needs no torch, and who asks another server not Prefect's: two thirds of the start."""
    code = "import flows.local_prefect, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set() == {"torch", "transformers", "prefect.server"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["flows.cli.main", "storage.lake", "tasks.sample", "benchmarks.sample.ours"]
)
def test_arrow_takes_the_systems_allocator(module: str) -> None:
    """Whichever module comes first, it is chosen before Arrow is loaded."""
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    code = f"import {module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "system" == told.stdout.strip()


def test_nothing_is_called_utils() -> None:
    """A module is named after what it knows."""
    banned = {"utils", "util", "helpers", "helper", "common", "misc"}
    named = [file for file in MODULES if {file.stem, *file.relative_to(ROOT).parts[:-1]} & banned]
    assert [] == [_name(file) for file in named]


def test_nothing_is_called_as_a_standard_module() -> None:
    """Prefect puts a file entrypoint's folder first on `sys.path`, where `select.py` would replace `select`."""
    named = [file for file in MODULES if file.stem in sys.stdlib_module_names and file.stem != "__init__"]
    assert [] == [_name(file) for file in named]


@pytest.mark.parametrize("file", VERBS, ids=_name)
def test_a_verb_is_thin(file: Path) -> None:
    """A task reads, calls pure code once, writes. 100 lines of code are the aim, 130 the bound."""
    source = file.read_text(encoding="utf-8")
    written = {
        n
        for n, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            written -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    assert len(written) <= 130


def test_flows_have_real_annotations() -> None:
    """`from __future__ import annotations` breaks serving a flow whose parameters are pydantic models."""
    late = [
        file
        for file in (ROOT / "flows").glob("*.py")
        if re.search(r"^from __future__ import .*annotations", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert [] == [_name(file) for file in late]


def test_the_packages_are_these() -> None:
    """`tasks` is a common name: another package of that name would be a silent stranger."""
    assert ROOT / "tasks" / "__init__.py" == Path(tasks.__file__ or "")


def test_every_noun_has_its_layer() -> None:
    """A new folder of `tasks/` has to say in pyproject.toml whom it may know."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = {name for layer in contracts[0]["layers"] for name in layer.split(" | ")}
    files = {f"tasks.{file.stem}" for file in VERBS}
    assert set() == {*NOUNS, *files} - layers


@pytest.mark.parametrize("file", STATEMENTS, ids=_name)
def test_a_statement_begins_with_what_a_row_is(file: Path) -> None:
    """Its first line is a comment."""
    assert file.read_text(encoding="utf-8").startswith("-- ")


@pytest.mark.parametrize("file", STATEMENTS, ids=_name)
def test_a_statement_is_one_and_is_used(file: Path) -> None:
    """Python names it, whole or, where the config says which of several it is, by its beginning."""
    text = re.sub(r"'[^']*'|--[^\n]*", "", file.read_text(encoding="utf-8"))
    assert ";" not in text.rstrip().rstrip(";")
    words = file.stem.split("_")
    begins = ["_".join(words[:end]) for end in range(1, len(words))]
    names = (f'"{file.stem}"', *(f'f"{begin}_{{' for begin in begins))
    assert any(name in module.read_text(encoding="utf-8") for module in MODULES for name in names)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_says_what_it_means(table: Table) -> None:
    """Its meaning is a sentence, and a null has a meaning wherever one is allowed."""
    for field in table.schema:
        message = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        assert message["doc"].endswith((".", ";")), field.name
        assert field.nullable == bool(message.get("null")), field.name


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_says_what_a_row_is(table: Table) -> None:
    """Its grain, and columns that identify and sort its rows."""
    assert table.grain.startswith("one row per ")
    assert {*table.keys, *table.order} <= set(table.schema.names)
    assert isinstance(table.schema, pa.Schema)


def _prints_raw(file: Path) -> list[str]:
    """Where a module would print other than through `flows.terminal`."""
    faults = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in {"rich", "rich.markup", "rich.prompt"}:
            faults.append(f"{node.lineno}: imports {node.module}")
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            marked = any(
                key.arg == "markup" and not (isinstance(key.value, ast.Constant) and not key.value.value)
                for key in node.keywords
            )
            if marked or called in {"Console", "from_markup", "from_ansi"}:
                faults.append(f"{node.lineno}: {called}")
            if called == "ArgumentParser" and file.parent.name == "cli":
                faults.append(f"{node.lineno}: {called}")
    return faults


@pytest.mark.parametrize(
    "file",
    [file for file in MODULES if file.relative_to(ROOT).parts[0] in {"flows", "storage", "tasks"}],
    ids=_name,
)
def test_all_is_printed_through_one_console(file: Path) -> None:
    """Explanations and servers' words would otherwise reach the terminal raw, or be taken for markup."""
    assert file.name == "terminal.py" or [] == _prints_raw(file)


def test_no_file_imports_itself_in_a_circle() -> None:
    """Whoever understands a file needs those that it imports, and none of them needs the file."""
    # Its cache goes by the files' times, which a checkout sets anew.
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    circles = [
        chain
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if (chain := graph.find_shortest_chain(imported, module)) is not None
    ]
    assert [] == circles


def test_the_reading_order_is_short() -> None:
    """Seven files explain the whole, in under 700 lines together, not counting the tables."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Read this first", 1)[1]
    listed = re.findall(r"^\d\. \[([^\]]+)\]", section.split("## ", 1)[0], re.MULTILINE)
    assert 7 == len(listed)
    lines = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in listed}
    assert sum(lines.values()) - lines["storage/tables.py"] < 700


@pytest.mark.parametrize("file", [file for file in MODULES if _name(file) != "storage/tables.py"], ids=_name)
def test_a_module_has_at_most_400_lines(file: Path) -> None:
    """A longer one has two subjects; the declarations of the tables are one long list."""
    assert (
        len(file.read_text(encoding="utf-8").splitlines()) <= 400
        or _name(file) == "deployments/demo/corpus.py"
    )
