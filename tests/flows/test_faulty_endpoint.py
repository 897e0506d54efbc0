"""A run against a real server that answers wrongly in every way that servers do."""

import json
import re
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from storage import runs
from storage.lake import Lake
from tests.flows.command import gloss, start, write_config
from tests.tasks.llm.faulty_server import Behaviour, Body, Fault, FaultyServer, faulty_server, trial

LASTING = (
    Fault.LIMITED,
    Fault.SERVER_ERROR,
    Fault.OVERLOADED,
    Fault.BAD_REQUEST,
    Fault.RESET_BEFORE,
    Fault.STALL,
    Fault.TRUNCATED,
    Fault.EMPTY_CHOICES,
    Fault.ABORTED,
    Fault.PROSE,
    Fault.ONE_TOO_FEW,
)
"""Faults that a question meets however often it is asked."""


def _question(body: Body) -> str:
    return body["messages"][-1]["content"]


def _share(body: Body) -> int:
    """A number from 0 to 99 that belongs to a question."""
    return int(sha256(_question(body).encode()).hexdigest(), 16) % 100


def _fault(body: Body) -> Fault:
    """A third of the questions meets a fault of its own, every time."""
    share = _share(body)
    return LASTING[share % len(LASTING)] if share < 33 else Fault.NONE


def _behaviour() -> Behaviour:
    """Beside the lasting faults, the first attempt at some questions meets one that the next attempt mends.

    Trials of forms are answered: where nobody tells whether replies are held, no verdict is asked for.
    """
    met: set[str] = set()

    def behave(_number: int, body: Body) -> Fault:
        if trial(body):
            return Fault.NONE
        first = _question(body) not in met
        met.add(_question(body))
        return Fault.RESET_MIDWAY if first and _share(body) % 5 == 0 else _fault(body)

    return behave


def _answer(body: Body) -> str:
    if "Description:" not in _question(body):
        # Each feature its own, so that no question of the shuffled control equals one of the feature's own.
        return f"It looks like a list.\nEXPLANATION: Words of kind {sha256(_question(body).encode()).hexdigest()}."
    shown = len(re.findall(r"^Example \d+:", _question(body), re.MULTILINE))
    return json.dumps([1, 0, 1, 0, 1][:shown])


def _config(folder: Path, server: FaultyServer, **reader: object) -> Path:
    judge = {
        "kind": "openai",
        "urls": [server.url],
        "model": "tiny",
        "in_flight": 48,
        "attempts": 3,
        "patience": 0,
        "read_timeout": 1.5,
        "max_backoff": 0.05,
        **reader,
    }
    return write_config(
        folder,
        str(folder / "lake"),
        features={"choose": "sample", "n": 12},
        explainers=[{"kind": "exemplars", "reader": "judge"}],
        scorers=[
            {"kind": "detection", "reader": "judge", "shown": 4},
            {"kind": "fuzzing", "reader": "judge"},
        ],
        readers={"judge": judge},
    )


def _rows(lake: Path, query: str) -> list[tuple]:
    place = Lake(str(lake))
    with place.connect() as connection:
        runs.create_views(place, connection)
        return connection.sql(query).fetchall()


@pytest.mark.faults
def test_every_failure_is_counted_and_none_is_a_score(tmp_path: Path, prefect: dict[str, str]) -> None:
    """The run ends; each question has its row, failures say why, and scores are made of verdicts alone."""
    with faulty_server(_behaviour(), _answer, retry_after=0.01) as server:
        ended = gloss(["run", str(_config(tmp_path, server))], prefect)

    assert 0 == ended.returncode, ended.stderr
    lake = tmp_path / "lake"
    asked = {_question(body): _fault(body) for body in server.questions}
    answered = (Fault.NONE, Fault.PROSE, Fault.ONE_TOO_FEW)
    # An explanation that lost its last item is still an explanation; a list of verdicts is not.
    unanswered = sum(fault not in answered for fault in asked.values())
    assert [(len(asked), unanswered)] == _rows(
        lake, "select count(*), count(*) filter (where status = 'failed') from requests"
    )
    assert unanswered > 0

    judged = {question: fault for question, fault in asked.items() if "Description:" in question}
    failed = sum(
        len(re.findall(r"^Example \d+:", question, re.MULTILINE))
        for question, fault in judged.items()
        if fault is not Fault.NONE
    )
    shown = sum(len(re.findall(r"^Example \d+:", question, re.MULTILINE)) for question in judged)
    assert [(shown, failed, failed, failed)] == _rows(
        lake,
        "select count(*), count(*) filter (where status = 'failed'), count(*) filter (where verdict is null),"
        " count(*) filter (where reason is not null) from judgements",
    )
    assert [(shown - failed, failed)] == _rows(lake, "select sum(n), sum(n_failed) from scores")
    kinds = "select distinct regexp_extract(reason, '^[a-z]+') from judgements where reason is not null"
    reasons = _rows(lake, kinds)
    assert len(reasons) > 1, reasons
    assert failed == sum(int(count) for count in re.findall(r"(\d+) failed judgements", ended.stdout))


def test_the_ledger_says_how_replies_were_held(tmp_path: Path, prefect: dict[str, str]) -> None:
    """Every verdict's request was held by the server, which says nothing that cannot be read; explanations were not."""
    with faulty_server(
        answer=lambda body: _answer(body) if "Description:" not in _question(body) else "I cannot tell.",
        holds="structured_outputs",
    ) as server:
        ended = gloss(["run", str(_config(tmp_path, server))], prefect)

    assert 0 == ended.returncode, ended.stderr
    lake = tmp_path / "lake"
    assert [("explain", None), ("score", "structured_outputs")] == _rows(
        lake, "select distinct stage, structured from requests order by stage"
    )
    assert [("ok",)] == _rows(lake, "select distinct status from judgements")


@pytest.mark.faults
def test_an_explanation_that_failed_is_not_judged(tmp_path: Path, prefect: dict[str, str]) -> None:
    """Features without an explanation keep a row with the reason, and no question is asked about them."""
    features: list[str] = []

    def every_other(_number: int, body: Body) -> Fault:
        question = _question(body)
        if "Description:" in question or trial(body):
            return Fault.NONE
        if question not in features:
            features.append(question)
        return Fault.PROSE if features.index(question) % 2 else Fault.NONE

    with faulty_server(every_other, _answer) as server:
        ended = gloss(["run", str(_config(tmp_path, server))], prefect)

    assert 0 == ended.returncode, ended.stderr
    lake = tmp_path / "lake"
    assert [(len(features), len(features) // 2)] == _rows(
        lake,
        "select count(*), count(*) filter (where text is null and reason like 'no line EXPLANATION:%')"
        " from explanations",
    )
    assert [(0,)] == _rows(
        lake,
        "select count(*) from judgements where feature in"
        " (select feature from explanations where text is null) and control = 'none'",
    )


@pytest.mark.faults
def test_endpoints_that_go_down_end_the_run_and_it_goes_on(tmp_path: Path, prefect: dict[str, str]) -> None:
    """When nothing listens any more the run fails with what is done kept; later the same command finishes it."""
    enough = threading.Event()

    def behave(number: int, _body: Body) -> Fault:
        if number > 150:
            enough.set()
        return Fault.NONE

    with faulty_server(behave, _answer, delay=0.05) as server:
        config = _config(tmp_path, server, patience=0.5, in_flight=8)
        port = int(server.origin.rsplit(":", 1)[1])
        process = start(["run", str(config)], prefect)
        assert enough.wait(120)
    _, complaint = process.communicate(timeout=120)

    assert 1 == process.returncode, complaint
    assert f"127.0.0.1:{port}" in complaint
    lake = tmp_path / "lake"
    kept = {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}

    with faulty_server(answer=_answer, port=port):
        ended = gloss(["run", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert [(0,)] == _rows(lake, "select count(*) from judgements where status = 'failed'")


def test_the_key_is_nowhere(
    tmp_path: Path, prefect: dict[str, str], add_cache: Callable[[Path], None]
) -> None:
    """An API key goes to the endpoint and into no table, manifest, message or log."""
    key = "sk-quite-secret-0123456789"
    add_cache(tmp_path / "lake")
    with faulty_server(
        lambda number, _: Fault.ECHO_KEY if number % 3 == 0 else Fault.NONE, _answer
    ) as server:
        ended = gloss(["run", str(_config(tmp_path, server))], {**prefect, "OPENAI_API_KEY": key})

    assert 0 == ended.returncode, ended.stderr
    assert key not in ended.stdout + ended.stderr
    assert [] == [
        path
        for path in (tmp_path / "lake").rglob("*")
        if path.is_file() and key.encode() in path.read_bytes()
    ]
    reasons = _rows(tmp_path / "lake", "select distinct reason from requests where reason is not null")
    assert [] == [reason for (reason,) in reasons if key in reason]
