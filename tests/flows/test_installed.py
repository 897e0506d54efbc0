"""gloss as a wheel in an environment of its own, away from any checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

from flows import __version__
from storage.tables import TABLES
from tests.flows.command import CORPUS, ROOT, TOY, tables

pytestmark = pytest.mark.e2e

SMALLER = {
    "corpus.tokens": 40_960,
    "features.n": 12,
    "sample.explain": 20,
    "sample.per_decile": 4,
    "sample.min_firings": 60,
}
"""What makes a run of a minute of the toy's."""


def _run(*words: str | Path, folder: Path, **environment: str) -> str:
    """What a command prints that ends well, in a folder and without the paths of this process."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        words, cwd=folder, env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that has gloss as a wheel; what it depends on it shares with this one."""
    folder = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    (wheel,) = folder.glob("gloss_sae-*.whl")
    venv.create(folder / "venv", symlinks=True, with_pip=False)
    python = folder / "venv" / "bin" / "python"
    _run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        folder=folder,
    )
    # Only now, so that pip saw an empty environment. What .pth files in the added folder name, such as an editable
    # checkout, is not added by this one.
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python.parent


def test_the_packages_are_those_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    """No checkout is on the path: what is not in the wheel cannot be imported."""
    code = """
import flows, storage, tasks
from importlib.util import find_spec
for module in (flows, storage, tasks):
    print(module.__file__)
print([name for name in ("benchmarks", "deployments", "tests") if find_spec(name)])
"""
    *files, absent = _run(installed / "python", "-c", code, folder=tmp_path).splitlines()

    assert all(Path(file).is_relative_to(installed.parent) for file in files), files
    assert "[]" == absent
    assert f"gloss {__version__}\n" == _run(installed / "gloss", "--version", folder=tmp_path)


@pytest.mark.slow
def test_a_run_works_elsewhere(installed: Path, tmp_path: Path, prefect: dict[str, str]) -> None:
    """Beside the files that it names alone; all of its stages fill their tables, and SQL over them answers."""
    shutil.copytree(TOY, tmp_path / TOY.relative_to(ROOT), ignore=shutil.ignore_patterns("*.py"))
    text = tmp_path / CORPUS.relative_to(ROOT)
    text.parent.mkdir(parents=True)
    shutil.copy(CORPUS, text)
    changes = [word for key, value in SMALLER.items() for word in ("--set", f"{key}={value}")]
    config = "tests/toy/toy.yaml"
    _run(installed / "gloss", "run", config, *changes, folder=tmp_path, **prefect)

    rows = tables(str(tmp_path / "gloss-lake"), "toy")
    assert set(TABLES) - {"embeddings"} == {name for name, filled in rows.items() if filled}
    query = "select count(distinct scorer) from scores"
    out = _run(installed / "gloss", "sql", query, "--format", "csv", folder=tmp_path, **prefect)
    optional = {name for name, reader in _toy()["readers"].items() if reader.get("kind") == "openai"}
    always = [scorer for scorer in _toy()["scorers"] if scorer["reader"] not in optional]
    assert str(len(always)) == out.splitlines()[1]


def _toy() -> dict:
    return yaml.safe_load((TOY / "toy.yaml").read_text(encoding="utf-8"))
