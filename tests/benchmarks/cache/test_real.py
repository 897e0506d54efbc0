"""The case of a pretrained model, on the toy's subject and coder."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import child
from benchmarks.cache import __main__ as command
from benchmarks.cache import cases
from benchmarks.cache.cases import RealCase
from benchmarks.report import Report
from tasks.activations.model_cache import evict_all
from tests.flows.command import TOY

pytestmark = pytest.mark.e2e

in_its_own_process = child.run


def in_process(module: str, request: Mapping[str, object], **options: object) -> dict[str, Any]:
    """A child's answer from this process, in which it leaves no model; a command gets a process."""
    if module.endswith("whole"):
        return in_its_own_process(module, request, **options)  # pyright: ignore[reportArgumentType]
    try:
        return importlib.import_module(module).answer(dict(request))
    finally:
        evict_all()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tokens, children in this process."""
    monkeypatch.setattr(child, "run", in_process)
    monkeypatch.setitem(cases.REAL_CASES, "quick", RealCase("layers.2", tokens=16_384, rounds=1, reference=2))


def given(tmp_path: Path, coders: Path) -> list[str]:
    threads = str(torch.get_num_threads())
    files = ["--model", str(TOY / "subject"), "--coders", str(coders), "--scratch", str(tmp_path)]
    return ["--real", "--quick", "--threads", threads, *files, "--json", str(tmp_path / "report.json")]


@pytest.mark.usefixtures("small")
def test_it_measures_shards_and_a_whole_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Time over the floor, the memory of a whole `gloss cache`, and no firing that arithmetic does not give."""
    assert 0 == command.main(given(tmp_path, TOY / "coder" / "sparsify"))

    report = Report.read(tmp_path / "report.json")
    assert "python -m benchmarks.cache --quick --real" == report.command.split(" --threads")[0]
    assert {"real_cpu_over_floor", "real_peak_gb", "reference_wrong"} == report.bounds.keys()
    assert 0 == report["reference_wrong"].value
    assert 2 * 255 * 20 < report["reference_firings"].value
    assert 0.5 < report["real_cpu_over_floor"].value < 10
    assert 0.2 < report["real_gloss_peak_gb"].value
    assert 0.2 < report["real_peak_gb"].value < 4
    assert "d 192, 5 layers, vocabulary 4,096" in str(report.workload["model"])
    assert (24, "TopK of 2,048 features at layers.2") == (report.workload["k"], report.workload["coder"])
    shown = capsys.readouterr().out
    assert "## cache of a real model" in shown
    assert "| gloss |" in shown


def test_coders_that_are_not_there_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence, before a model is loaded."""
    assert 2 == command.main(given(tmp_path, tmp_path))
    assert (
        "has no coder of layers.9; name a folder of sparsify's with one, by --coders"
        in capsys.readouterr().err
    )
