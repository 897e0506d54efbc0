"""A run against a real server into whose model's context not all fits that is shown."""

import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from storage import runs
from storage.lake import Lake
from tests.flows.command import gloss, write_config
from tests.tasks.llm.faulty_server import Body, Fault, faulty_server

EXPLAINED, JUDGED = 1500, 600
"""Characters that fit of a feature's contexts, and of a question about some: less than half of what is shown."""


def _question(body: Body) -> str:
    return body["messages"][-1]["content"]


def _behave(_number: int, body: Body) -> Fault:
    question = _question(body)
    fitting = JUDGED if "Description:" in question else EXPLAINED
    return Fault.TOO_LONG if len(question) > fitting else Fault.NONE


def _answer(body: Body) -> str:
    question = _question(body)
    shown = len(re.findall(r"^Example \d+:", question, re.MULTILINE))
    if "Description:" in question:
        return json.dumps([1, 0, 1, 0, 1, 0, 1, 0][:shown])
    return f"EXPLANATION: Words of kind {sha256(question.encode()).hexdigest()[:9]}."


def test_a_run_goes_on_with_fewer_contexts_and_says_so(
    tmp_path: Path, prefect: dict[str, str], add_cache: Callable[[Path], None]
) -> None:
    """Everything is explained and judged, the tables say from how much, and nothing is left to be asked again."""
    add_cache(tmp_path / "lake")
    with faulty_server(_behave, _answer) as server:
        config = write_config(
            tmp_path,
            str(tmp_path / "lake"),
            features={"choose": "sample", "n": 12},
            explainers=[{"kind": "exemplars", "reader": "judge"}],
            scorers=[{"kind": "detection", "reader": "judge", "shown": 8}],
            readers={"judge": {"kind": "openai", "urls": [server.url], "model": "tiny"}},
        )
        ended = gloss(["run", str(config)], prefect)
        # Whether the server does what a run relies on is tried before it, by questions without examples.
        asked = {
            _question(request): _behave(0, request)
            for request in server.requests
            if "Example 1:" in _question(request)
        }
        message = len(server.requests)
        again = gloss(["run", str(config), "--retry-failed"], prefect)
        assert message == len(server.requests)

    assert (0, 0) == (ended.returncode, again.returncode), ended.stderr + again.stderr
    assert "Asking again: 0 requests" in again.stdout
    refused = sum(fault is Fault.TOO_LONG for fault in asked.values())
    assert 0 < refused < len(asked)
    lake = Lake(str(tmp_path / "lake"))
    with lake.connect() as connection:
        runs.create_views(lake, connection)

        def rows(query: str) -> list[tuple]:
            return connection.sql(query).fetchall()

        assert [("halved", refused), ("ok", len(asked) - refused)] == rows(
            "select status, count(*) from requests where attempts > 0 group by status order by status"
        )
        assert [(refused,)] == rows(
            "select count(*) from requests where attempts > 0 and reason like '%the prompt has 5000 tokens'"
        )
        # As the server saw it: what is in the prompt that was answered.
        seen = sorted(
            question.count("Example ")
            for question, fault in asked.items()
            if fault is Fault.NONE and "Description:" not in question
        )
        assert seen == [shown for (shown,) in rows("select shown from explanations order by shown")]
        assert {*seen} < {1, 2, 5, 10}
        assert [("ok",)] == rows("select distinct status from explanations")
        assert [("ok",)] == rows("select distinct status from judgements")
        assert [(0,)] == rows(
            "select count(*) from contexts left join judgements using (coder, feature, context)"
            " where role = 'score' and verdict is null"
        )
        halves = rows("select count(*) from judgements where request like '%/half%'")
        assert halves > [(0,)]
