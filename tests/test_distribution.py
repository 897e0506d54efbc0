"""What is installed under the project's name: the files of its wheel, its dependencies and their pins."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flows import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "storage", "tasks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
SOURCES = [file for package in (*PACKAGES, "deployments") for file in (ROOT / package).rglob("*.*")]


def _pins(name: str) -> dict[str, str]:
    """The versions that a file pins, and those of the files that it includes."""
    pins = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            pins |= _pins(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            package, version = line.split("==")
            pins[canonicalize_name(package)] = version
    return pins


def test_the_wheel_holds_the_three_packages_and_no_more() -> None:
    """Every module, statement, prompt and word list of theirs; no benchmark, test, demo or page generator."""
    included = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*"))
    expected = {
        file.relative_to(ROOT).as_posix()
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }

    assert expected == included
    assert {"flows/run.py", "storage/sql/scores.sql", "tasks/scorers/detection.prompt.txt"} <= included
    assert {".py", ".sql", ".txt", ".yaml"} <= {Path(file).suffix for file in included}
    assert [] == [file for file in included if re.search(r"(^|/)(tests?|conftest|test_\w+)(/|\.py$)", file)]


def test_the_version_is_written_once() -> None:
    """The command prints what the wheel is called by."""
    assert ["version"] == PROJECT["dynamic"]
    assert __version__ == WheelBuilder(str(ROOT)).metadata.version


@pytest.mark.parametrize(
    ("declared", "file"),
    [
        (PROJECT["dependencies"], "requirements.txt"),
        *((extra, "requirements-dev.txt") for extra in EXTRAS.values()),
    ],
    ids=["dependencies", *EXTRAS],
)
def test_pins_are_within_what_is_declared(declared: list[str], file: str) -> None:
    """Each direct dependency in pyproject.toml has a pin, and that version is one that it allows."""
    pins = _pins(file)
    wanted = [Requirement(line) for line in declared]

    assert [] == [str(need) for need in wanted if not need.specifier.contains(pins.get(need.name, "0"))]


def test_pins_are_what_the_dependencies_need() -> None:
    """requirements.txt pins the dependencies and what they need in turn, and nothing else."""
    closure, waiting = set(), [Requirement(line) for line in PROJECT["dependencies"]]
    while waiting:
        need = waiting.pop()
        key = (canonicalize_name(need.name), frozenset(need.extras))
        if key in closure:
            continue
        closure.add(key)
        waiting += [
            further
            for line in metadata.requires(need.name) or []
            if (further := Requirement(line)).marker is None
            or any(further.marker.evaluate({"extra": extra}) for extra in ("", *need.extras))
        ]

    assert {name for name, _ in closure} == set(_pins("requirements.txt"))


def test_what_is_to_be_installed_exists() -> None:
    """Every `pip install` of gloss in pages and messages names the distribution, and extras that it has."""
    named = [
        (file.relative_to(ROOT).as_posix(), name, extra)
        for file in (*PAGES, *SOURCES)
        if file.suffix in {".md", ".py", ".sh"}
        for name, extra in re.findall(
            r"\b(gloss[\w-]*|(?<=-e \")\.)\[([\w,-]+)\]", file.read_text(encoding="utf-8")
        )
    ]

    assert named
    assert [] == [
        result for result in named if result[1] not in {".", PROJECT["name"]} or result[2] not in EXTRAS
    ]
