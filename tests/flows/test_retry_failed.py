"""What failed is asked again and nothing else, and what hung on it is made anew."""

import json
import re
import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from flows.cli.main import main
from tests.flows.command import gloss, tables, write_config
from tests.tasks.llm.faulty_server import Behaviour, Body, Fault, faulty_server


def _question(body: Body) -> str:
    return body["messages"][-1]["content"]


def _answer(body: Body) -> str:
    question = _question(body)
    if "Description:" not in question:
        return f"EXPLANATION: Words of kind {sha256(question.encode()).hexdigest()}."
    return json.dumps([1, 0, 1, 0, 1][: len(re.findall(r"^Example \d+:", question, re.MULTILINE))])


def _some_fail() -> Behaviour:
    """An eighth of all questions is refused for good."""

    def behave(_number: int, body: Body) -> Fault:
        return Fault.BAD_REQUEST if sha256(_question(body).encode()).digest()[0] < 32 else Fault.NONE

    return behave


def _config(folder: Path, url: str, **reader: object) -> Path:
    judge = {"kind": "openai", "urls": [url], "model": "tiny", **reader}
    return write_config(
        folder,
        str(folder / "lake"),
        run="again",
        explainers=[{"kind": "exemplars", "reader": "judge"}],
        scorers=[{"kind": "detection", "reader": "judge"}],
        readers={"judge": judge},
    )


@pytest.mark.faults
def test_what_failed_is_asked_again_and_nothing_else(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str]
) -> None:
    """In the end the tables are those of a run in which nothing failed."""
    shutil.copytree(undisturbed, tmp_path / "lake")
    shutil.copytree(undisturbed, tmp_path / "whole" / "lake")
    with faulty_server(_some_fail(), _answer) as server:
        ended = gloss(["run", str(_config(tmp_path, server.url))], prefect)
        port = int(server.origin.rsplit(":", 1)[1])
        first = Counter(map(_question, server.questions))
    assert 0 == ended.returncode, ended.stderr
    refused = {question for question in first if sha256(question.encode()).digest()[0] < 32}
    assert refused

    with faulty_server(answer=_answer, port=port) as server:
        ended = gloss(["run", str(_config(tmp_path, server.url)), "--retry-failed"], prefect)
        again = set(map(_question, server.questions))
        assert 0 == ended.returncode, ended.stderr
        assert f"Asking again: {len(refused)} requests" in ended.stdout
        # New explanations bring new questions; of the old ones only those that were refused are asked.
        assert again & set(first) <= refused
        whole = gloss(["run", str(_config(tmp_path / "whole", server.url))], prefect)

    assert 0 == whole.returncode, whole.stderr
    assert tables(str(tmp_path / "whole" / "lake"), "again") == tables(str(tmp_path / "lake"), "again")


def test_nothing_is_taken_out_where_replies_are_not_kept(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything in a part would be paid again for the sake of one failure."""
    shutil.copytree(undisturbed, tmp_path / "lake")
    with faulty_server(_some_fail(), _answer) as server:
        config = _config(tmp_path, server.url, replies="off")
        ended = gloss(["explain", str(config)], prefect)
        assert 0 == ended.returncode, ended.stderr
        parts = sorted((tmp_path / "lake").rglob("*.parquet"))

        assert 2 == main(["run", str(config), "--retry-failed"])

    assert "readers.judge.replies is off" in capsys.readouterr().err
    assert parts == sorted((tmp_path / "lake").rglob("*.parquet"))
