"""The command from its options to its report, with a tiny reader and on a lake of a few features."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.report import Report
from benchmarks.small_reader.cases import PARTS
from storage import runs
from storage.lake import Lake
from tests.flows.command import ROOT
from tests.tasks.llm.in_process.models import tokenizer

pytestmark = pytest.mark.e2e


def reader(folder: Path) -> Path:
    """A file that describes a reader: a model of random weights."""
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    file = folder / "reader.yaml"
    entry = {"kind": "transformers", "model": str(folder / "model"), "device": "cpu"}
    file.write_text(yaml.safe_dump(entry), encoding="utf-8")
    return file


def measured(folder: Path, environment: dict[str, str], *more: str) -> Report:
    """The report of a quick run of the command on the lake in a folder."""
    files = ["--lake", str(folder / "lake"), "--reader", str(folder / "reader.yaml")]
    command = [sys.executable, "-m", "benchmarks.small_reader", *files, "--quick", *more]
    ended = subprocess.run(
        [*command, "--json", str(folder / "report.json")],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stderr
    return Report.read(folder / "report.json")


@pytest.mark.slow
def test_each_part_is_a_run_of_its_own(tmp_path: Path, undisturbed: Path, prefect: dict[str, str]) -> None:
    """First one part, then all: what is measured stays the run that was there before."""
    shutil.copytree(undisturbed, tmp_path / "lake")
    reader(tmp_path)

    first = measured(tmp_path, prefect, "--parts", "surprisal")
    every = measured(tmp_path, prefect)

    assert {"tiny", *(f"small-reader-{part}" for part in PARTS)} == {
        *runs.names(Lake(str(tmp_path / "lake")))
    }
    assert ["tiny", "tiny"] == [report.workload["run"] for report in (first, every)]
    assert "simulation: difference" not in first.named
    assert first.named["surprisal: own"] == every.named["surprisal: own"]
