"""The scripts that start servers, where there is no vLLM or no model is named."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.flows.command import ROOT

SCRIPTS = sorted((ROOT / "deployments" / "vllm").glob("*.sh"))


def _ended(script: Path, *words: str, vllm: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "VLLM": vllm}
    return subprocess.run(
        ["bash", script, *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
@pytest.mark.parametrize(
    ("words", "vllm", "said"),
    [
        ((), "echo", "name a model first, a folder or a name on the Hub"),
        (("--port", "9"), "echo", "name a model first, a folder or a name on the Hub"),
        (("m",), "/nowhere/vllm", "there is no command /nowhere/vllm; install vLLM, or say where it is"),
    ],
)
def test_what_is_missing_is_said(script: Path, words: tuple[str, ...], vllm: str, said: str) -> None:
    """In one sentence, with exit code 2."""
    ended = _ended(script, *words, vllm=vllm)
    assert (2, "") == (ended.returncode, ended.stdout)
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{script.name}: {said}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_model_and_more_flags_reach_the_server(script: Path) -> None:
    """The last of which win."""
    ended = _ended(script, "m", "--port", "9", vllm="echo")
    assert 0 == ended.returncode
    assert ended.stdout.startswith("serve m --host 127.0.0.1 --port 80")
    assert ended.stdout.endswith(" --port 9\n")
