"""What a run goes on without when an optional reader is not there."""

import asyncio
import socket
from pathlib import Path

import pytest

from flows.config import RunConfig
from flows.optional_readers import without_absent
from flows.plan import Plan
from storage.errors import WrongRequest
from storage.layout import Range
from storage.replies import REPLIES
from storage.tables import TABLES
from tests.flows.command import TINY


@pytest.fixture
def closed() -> str:
    """An address at which nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def config(tmp_path: Path, readers: dict, **parts: object) -> RunConfig:
    """The tiny run with more readers."""
    data = {**TINY, "lake": tmp_path.as_posix(), **parts}
    return RunConfig.model_validate({**data, "readers": {**TINY["readers"], **readers}})


SURPRISAL = {"kind": "surprisal", "reader": "judge"}


def judge(url: str, *, optional: bool = True) -> dict:
    """An endpoint."""
    return {"judge": {"kind": "openai", "urls": [url], "model": "m", "optional": optional}}


def test_what_an_absent_reader_would_judge_is_left_out(tmp_path: Path, closed: str) -> None:
    """And said: what, whose reader, and why; all else stays as it is."""
    asked = config(tmp_path, judge(closed), scorers=[*TINY["scorers"], SURPRISAL])
    reduced, (line,) = asyncio.run(without_absent(asked))
    assert asked.scorers[:-1] == reduced.scorers
    assert asked.explainers == reduced.explainers
    assert line.startswith("Left out: surprisal, which readers.judge would be asked for (")
    assert "connection refused" in line
    steps = {step.fingerprint for step in Plan(reduced).steps}
    assert steps < {step.fingerprint for step in Plan(asked).steps}


def test_what_the_kept_replies_answer_stays(tmp_path: Path, closed: str) -> None:
    """As after a batch: its reader need not be there. Here there is no feature that anything could be asked about."""
    alone = {"kind": "exemplars", "reader": "judge", "name": "other"}
    asked = config(tmp_path, judge(closed), explainers=[*TINY["explainers"], alone])
    plan, part = Plan(asked), Range(0, 10)
    contexts = plan.coders[0].contexts
    for table in contexts.tables:
        plan.lake.write(TABLES[table], contexts.part(table, part), TABLES[table].empty())
    plan.lake.commit(contexts, [part])
    assert "Left out: other" in asyncio.run(without_absent(asked))[1][0]
    plan.lake.write(REPLIES, "replies/0123/0000000000-0000000010-00.parquet", REPLIES.empty())
    assert (asked, []) == asyncio.run(without_absent(asked))


def test_a_model_that_is_not_installed_is_left_out(tmp_path: Path) -> None:
    """Before anything is planned with it: what decides its vectors cannot be known."""
    small = {"small": {"kind": "sentence_transformers", "model": "package:no_such", "optional": True}}
    asked = config(tmp_path, small, scorers=[{"kind": "embedding", "reader": "small"}, *TINY["scorers"]])
    reduced, (line,) = asyncio.run(without_absent(asked))
    assert asked.scorers[1:] == reduced.scorers
    assert "Left out: embedding" in line
    assert "no_such is not installed" in line


def test_a_reader_that_is_not_optional_stays(tmp_path: Path, closed: str) -> None:
    """The check before the run refuses it."""
    asked = config(tmp_path, judge(closed, optional=False), scorers=[SURPRISAL])
    assert (asked, []) == asyncio.run(without_absent(asked))


def test_an_optional_reader_that_nobody_asks_is_not_looked_for(tmp_path: Path, closed: str) -> None:
    """Nothing is left out."""
    asked = config(tmp_path, judge(closed))
    assert (asked, []) == asyncio.run(without_absent(asked))


def test_a_run_without_any_explainer_is_refused(tmp_path: Path, closed: str) -> None:
    """It would have nothing to do."""
    asked = config(tmp_path, judge(closed), explainers=[{"kind": "exemplars", "reader": "judge"}])
    with pytest.raises(WrongRequest, match=r"none of the readers .* is there \(judge\)"):
        asyncio.run(without_absent(asked))
