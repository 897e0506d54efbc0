"""A measurement is a process of its own, and its words reach the command."""

import sys
import time
from pathlib import Path

import pytest

from benchmarks import child, peers
from benchmarks.meter import Meter
from storage.errors import RunFailed

ANSWER = """
from benchmarks import child
from benchmarks.meter import Meter

def answer(request):
    print("a library that talks")
    with Meter() as meter:
        held = b"x" * request["bytes"]
    return {"said": request["word"], **meter.used()}

child.serve(answer)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A folder with modules that answer, fail, and are killed."""
    (tmp_path / "answering.py").write_text(ANSWER, encoding="utf-8")
    (tmp_path / "failing.py").write_text("raise ValueError('no such coder')", encoding="utf-8")
    (tmp_path / "killed.py").write_text("import os; os.kill(os.getpid(), 9)", encoding="utf-8")
    (tmp_path / "silent.py").write_text("", encoding="utf-8")
    return str(tmp_path)


def test_a_child_answers_its_request(path: str) -> None:
    """With the last line that it prints, whatever libraries print before."""
    assert "Bär" == child.run("answering", {"word": "Bär", "bytes": 1}, threads=1, path=path)["said"]


def test_peak_memory_is_the_childs_own(path: str) -> None:
    """It grows with what the child holds, and not with what this process does."""
    small, large = (
        child.run("answering", {"word": "", "bytes": size}, threads=1, path=path)["peak_bytes"]
        for size in (1, 10**8)
    )

    assert 0.9e8 < large - small < 1.2e8
    assert small < 5e7


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("failing", r"failing ended with 1: ValueError: no such coder"),
        ("killed", r"killed was killed, as happens when memory runs out: it said nothing"),
        ("silent", r"silent gave no answer"),
    ],
)
def test_a_child_that_fails_fails_the_run(path: str, module: str, message: str) -> None:
    """With its last words."""
    with pytest.raises(RunFailed, match=message):
        child.run(module, {}, threads=1, path=path)


def test_a_meter_counts_work_and_not_waiting() -> None:
    """CPU time grows while Python computes, wall time always."""
    with Meter() as waiting:
        time.sleep(0.2)
    with Meter() as working:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass

    assert waiting.wall_s >= 0.2
    assert waiting.cpu_s < 0.1
    assert 0.15 < working.cpu_s


def test_peers_are_an_environment_that_is_there(tmp_path: Path) -> None:
    """Null without one; with one, its interpreter and modules that can be imported in place of the large ones."""
    assert peers.peers(tmp_path / "none", tmp_path) is None
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)

    result = peers.peers(tmp_path / "venv", tmp_path)

    assert result is not None
    assert str(tmp_path / "venv" / "bin" / "python") == result.python
    lines = [
        f"from {module} import {', '.join(names) or '__name__'}" for module, names in peers.STUBS.items()
    ]
    code = "\n".join(
        [
            *lines,
            "from benchmarks import child",
            "child.serve(lambda _: {'imported': SentenceTransformer.__module__})",
        ]
    )
    Path(result.path, "importing.py").write_text(code, encoding="utf-8")
    assert {"imported": "sentence_transformers"} == child.run("importing", {}, threads=1, path=result.path)
