"""Killing the run, its endpoint or both in the middle of asking: the same tables, and nothing is paid twice."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from storage.lake import Lake
from storage.replies import REPLIES
from tasks.llm.reply_cache import reply_from_bytes
from tests.flows.command import UNREPEATABLE, gloss, start, tables, write_config
from tests.flows.killing import KILLS, moments
from tests.tasks.llm.faulty_server import Body, FaultyServer, faulty_server

IN_FLIGHT = 16
DELAY = 0.03
MOMENT = 0.5
"""Seconds after which an answer is safe, on however busy a machine."""


def _mark(body: Body) -> str:
    """What tells a question from all others."""
    return sha256(json.dumps(body["messages"]).encode()).hexdigest()[:24]


def _answer(body: Body) -> str:
    question, mark = body["messages"][-1]["content"], _mark(body)
    if "Description:" not in question:
        return f"EXPLANATION: Words of kind {mark}."
    shown = len(re.findall(r"^Example \d+:", question, re.MULTILINE))
    return f"{mark}: {[int(sign, 16) % 2 for sign in mark[:shown]]}"


def _config(folder: Path, url: str) -> Path:
    judge = {
        "kind": "openai",
        "urls": [url],
        "model": "tiny",
        "in_flight": IN_FLIGHT,
        "attempts": 30,
        "max_backoff": 0.2,
    }
    return write_config(
        folder,
        str(folder / "lake"),
        run="asking",
        explainers=[{"kind": "exemplars", "reader": "judge"}],
        scorers=[{"kind": "detection", "reader": "judge"}],
        readers={"judge": judge},
    )


def _kept(lake: Path) -> set[str]:
    """Marks of the questions whose replies are safe."""
    place = Lake(str(lake))
    files = [place.path(file) for file in place.files(REPLIES.name)]
    if not files:
        return set()
    with place.connect() as connection:
        rows = connection.sql("select reply from read_parquet($files)", params={"files": files}).fetchall()
    digests = (re.search(r"[0-9a-f]{24}", reply_from_bytes(reply).text) for (reply,) in rows)
    return {mark[0] for mark in digests if mark}


@pytest.mark.faults
def test_kills_change_no_table_and_no_reply_is_paid_twice(
    undisturbed: Path,
    tmp_path: Path,
    prefect: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At random moments, three or more; what was answered a moment before a kill, or earlier, is never asked again."""
    draw = moments("asking", capsys)
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    for folder in (quiet, killed):
        shutil.copytree(undisturbed, folder / "lake")
    with faulty_server(answer=_answer) as server:
        ended = gloss(["run", str(_config(quiet, server.url))], prefect)
        whole, port = len(server.questions), int(server.origin.rsplit(":", 1)[1])
    assert 0 == ended.returncode, ended.stderr

    deaths = (["run", "endpoint", "both"] * KILLS)[: max(3, KILLS // 2)]
    safe: set[str] = set()
    asked: list[str] = []
    answered: dict[str, float] = {}
    lost: list[float] = []

    def answer(body: Body) -> str:
        answered[_mark(body)] = time.monotonic()
        return _answer(body)

    serve = partial(faulty_server, answer=answer, delay=DELAY, port=port)
    with ExitStack() as running:
        server = running.enter_context(serve())
        config = _config(killed, server.url)
        process = start(["run", str(config)], prefect)
        for death in deaths:
            _wait(process, server, draw.randint(10, whole // (len(deaths) + 1)))
            killed_at = time.monotonic()
            if death != "endpoint":
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            if death != "run":
                running.close()
            now = _since(server, safe)
            asked += now
            safe = _kept(killed / "lake")
            lost += [killed_at - answered[mark] for mark in answered.keys() & set(now) - safe]
            answered.clear()
            if death == "run":
                server.requests.clear()
            else:
                time.sleep(0.3)
                server = running.enter_context(serve())
            if death != "endpoint":
                process = start(["run", str(config)], prefect)
        _, complaint = process.communicate(timeout=300)
        assert 0 == process.returncode, complaint
        asked += _since(server, safe)
    assert set(asked) == _kept(killed / "lake")
    # Answers are safe within hundredths of a second; the rest is for a busy machine.
    assert max(lost) < MOMENT
    # At a kill up to as many are under way as may be.
    assert len(asked) - len(set(asked)) < len(deaths) * 4 * IN_FLIGHT
    monkeypatch.setitem(UNREPEATABLE, "requests", ["latency", "attempts"])
    assert tables(str(quiet / "lake"), "asking") == tables(str(killed / "lake"), "asking")


def _wait(process: "subprocess.Popen[str]", server: FaultyServer, more: int) -> None:
    """Wait until a server was asked so many more questions."""
    enough = len(server.questions) + more
    while len(server.questions) < enough and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def _since(server: FaultyServer, safe: set[str]) -> list[str]:
    """What a server was asked, none of which was safe before."""
    marks = [_mark(body) for body in server.questions]
    assert not safe & set(marks)
    return marks
