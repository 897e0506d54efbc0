"""Ctrl-C, SIGTERM and SIGHUP end a command with one sentence, at whatever moment they come."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.flows.command import ROOT, start, write_config

SENTENCES = {
    signal.SIGINT: "gloss: interrupted; what is done is kept, and the same command continues",
    signal.SIGTERM: "gloss: interrupted by SIGTERM; what is done is kept, and the same command continues",
    signal.SIGHUP: "gloss: interrupted by SIGHUP; what is done is kept, and the same command continues",
}

WHILE_IMPORTING = """
import os, sys, time

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "flows.cli.main":
            os.kill(os.getpid(), {number})
            time.sleep(20)

sys.meta_path.insert(0, Interrupting())
from flows.cli import main
main(["status"])
"""

IN_A_LONG_CALL = """
import ctypes, os, threading
from flows import interrupts

interrupts.handle()
threading.Timer(0.2, os.kill, (os.getpid(), {number})).start()
libc = ctypes.CDLL(None)
while libc.sleep(20):  # a library that begins again after a signal, as many do
    pass
"""

FORKED = """
import os, signal, time
from flows import interrupts

interrupts.handle()
child = os.fork()
if not child:
    time.sleep(20)
time.sleep(0.2)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
time.sleep(0.2)
print(os.WTERMSIG(status))
"""


def _python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=19
    )


@pytest.mark.parametrize("number", SENTENCES)
@pytest.mark.parametrize("code", [WHILE_IMPORTING, IN_A_LONG_CALL])
def test_it_ends_with_one_sentence(code: str, number: signal.Signals) -> None:
    """Before the command's own code is imported, and while the main thread is inside of a library."""
    ended = _python(code.format(number=int(number)))

    assert 1 == ended.returncode
    assert f"{SENTENCES[number]}\n" == ended.stderr


def test_a_signal_that_is_ignored_stays_so() -> None:
    """`nohup gloss run` outlives its terminal."""
    code = "signal.signal(signal.SIGHUP, signal.SIG_IGN); interrupts.handle(); os.kill(os.getpid(), signal.SIGHUP)"

    ended = _python(
        f"import os, signal, time; from flows import interrupts; {code}; time.sleep(0.2); print('on')"
    )

    assert (0, "on\n", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_a_fork_that_is_ended_ends_nothing_else() -> None:
    """A worker process of a library is ended by the signal alone."""
    ended = _python(FORKED)

    assert (0, f"{int(signal.SIGTERM)}\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.e2e
def test_a_server_of_the_users_own_hears_of_it(tmp_path: Path, prefect: dict[str, str]) -> None:
    """SIGTERM in mid-run: it shows the flow runs as crashed, and none as running for ever."""
    lake = tmp_path / "lake"
    process = start(["run", str(write_config(tmp_path, str(lake)))], prefect)
    while not list(lake.glob("activations/*/[0-9]*.parquet")) and process.poll() is None:
        time.sleep(0.01)

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)

    assert 1 == process.returncode, errors
    assert SENTENCES[signal.SIGTERM] == errors.splitlines()[-1]
    request = Request(
        f"{prefect['PREFECT_API_URL']}/flow_runs/filter",
        data=json.dumps({"flow_runs": {"name": {"any_": ["tiny", "tiny cache"]}}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as reply:
        runs = [run for run in json.load(reply) if run["parameters"]["config"]["lake"] == lake.as_posix()]
    assert {("tiny", "CRASHED"), ("tiny cache", "CRASHED")} == {
        (run["name"], run["state_type"]) for run in runs
    }


def test_an_answer_that_was_begun_leaves_no_file(tmp_path: Path) -> None:
    """What `gloss sql -o` was writing is removed, and what was there before stays."""
    file = tmp_path / "rows.csv"
    file.write_text("before", encoding="utf-8")
    code = f"""
import os, signal, time
from pathlib import Path
from flows import interrupts
from flows.cli.sql import whole

interrupts.handle()
with whole(Path({str(file)!r})) as draft:
    draft.write_text("half an ans")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(19)
"""

    ended = _python(code)

    assert 1 == ended.returncode
    assert ["rows.csv"] == [path.name for path in tmp_path.iterdir()]
    assert "before" == file.read_text(encoding="utf-8")
