"""What is found out of a reader's servers is said once, and remembered for the runs that follow."""

import json
from pathlib import Path

import pytest

from flows import llm_stage
from flows.config import RunConfig
from storage.lake import Lake
from tasks.llm.base import Finding
from tasks.llm.openai.parameters import Parameters
from tasks.llm.openai.reader import OpenAIReader
from tests.flows.command import TINY

HELD = Finding("form", "structured_outputs", "holds replies to a form by structured_outputs")
PLAIN = Finding("form", "plain", "does not hold replies to a form")
TAKES = Finding("parameters", "max_completion_tokens seed", "takes no seed")


def reader(**changes: object) -> OpenAIReader:
    return OpenAIReader.model_validate({"urls": ["http://127.0.0.1:1/v1"], "model": "m", **changes})


def find(folder: Path, run: str, *noted: Finding, **changes: object) -> llm_stage.Findings:
    """Let a command find something out, opening its reader anew each time; returns what it hands on."""
    config = RunConfig.model_validate({**TINY, "run": run, "lake": folder.as_posix()})
    findings = llm_stage.Findings()
    for finding in noted:
        llm_stage.noting(config, "judge", reader(**changes), findings)(finding)
    return findings


def test_a_finding_is_reported_once_in_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever opens the reader, and however often."""
    find(tmp_path, "one", HELD, HELD)
    assert [
        "readers.judge holds replies to a form by structured_outputs"
    ] == capsys.readouterr().err.splitlines()


def test_a_continuation_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And no more, where the server is what it was."""
    find(tmp_path, "one", HELD)
    first = capsys.readouterr().err
    find(tmp_path, "one", HELD)
    assert first == capsys.readouterr().err


@pytest.mark.parametrize("finding", [HELD, PLAIN, Finding("logprobs", "plain", "gives none")])
def test_a_reader_that_has_changed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], finding: Finding
) -> None:
    """Once: from then on it is what it is now."""
    other = {"structured_outputs": "plain", "plain": "structured_outputs"}[finding.value]
    find(tmp_path, "one", finding._replace(value=other))
    capsys.readouterr()
    find(tmp_path, "one", finding)
    assert "readers.judge has changed: its replies" in capsys.readouterr().err
    find(tmp_path, "one", finding)
    assert "changed" not in capsys.readouterr().err


def test_readers_of_other_models_are_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What one of them can says nothing of the next."""
    find(tmp_path, "one", HELD)
    find(tmp_path, "one", PLAIN, model="n")
    assert "changed" not in capsys.readouterr().err


def test_a_batch_is_written_as_runs_have_found_and_the_config_says(tmp_path: Path) -> None:
    """The config's word counts more."""
    lake = Lake(tmp_path.as_posix())
    assert Parameters() == llm_stage.parameters(lake, reader())
    find(tmp_path, "one", TAKES)
    assert Parameters("max_completion_tokens", frozenset({"seed"})) == llm_stage.parameters(lake, reader())
    told = llm_stage.parameters(lake, reader(max_tokens_key="max_tokens", omit=["stop"]))
    assert Parameters("max_tokens", frozenset({"seed", "stop"})) == told


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"reader": 1})])
def test_a_record_that_cannot_be_read_is_made_anew(tmp_path: Path, content: str) -> None:
    """Nothing depends on it."""
    file = tmp_path / llm_stage.path(reader())
    file.parent.mkdir()
    file.write_text(content)
    find(tmp_path, "one", HELD)
    assert "structured_outputs" == json.loads(file.read_text())["form"]


def test_a_later_stage_sends_what_servers_were_found_to_take(tmp_path: Path) -> None:
    """Refusals are paid for once in a command, though each stage opens its readers anew; another command tries anew."""
    findings = find(tmp_path, "one", TAKES)

    later = llm_stage.informed("judge", reader(), findings)

    assert Parameters("max_completion_tokens", frozenset({"seed"})) == later.parameters
    assert reader().identity() == later.identity()
    assert reader() == llm_stage.informed("judge", reader(), llm_stage.Findings())
