"""The command from its options to its report, on sizes that take seconds."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import child, page
from benchmarks.cache import __main__ as command
from benchmarks.cache import cases
from benchmarks.cache.cases import Case, Shape, Sizes
from benchmarks.cache.tables import tables
from benchmarks.report import Figure, Report
from tasks.activations.model_cache import evict_all

pytestmark = pytest.mark.e2e

SHAPE = Shape(d=16, layers=2, heads=2, vocabulary=50, sequence=8, batch=4, k=4, shard=8)
SIZES = Sizes(
    cases=(Case(32_768, 1, 128, 2), Case(256, 4, 64, 1)),
    kept=Case(256, 1, 128, 1),
    memory=(64, 256),
    peer_memory=(64, 256),
    memory_width=256,
    memory_shard=4,
    reference=4,
)


def in_process(module: str, request: Mapping[str, object], **_: object) -> dict[str, Any]:
    """A child's answer from this process, in which it leaves no model."""
    try:
        return importlib.import_module(module).answer(dict(request))
    finally:
        evict_all()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sizes, children in this process."""
    monkeypatch.setattr(child, "run", in_process)
    monkeypatch.setitem(cases.SIZES, ("cpu", "quick"), SIZES)
    monkeypatch.setitem(cases.SHAPES, "cpu", SHAPE)


def run(tmp_path: Path, *options: str) -> Report:
    """What the command wrote."""
    file = tmp_path / "report.json"
    threads = str(torch.get_num_threads())
    given = ["--quick", "--threads", threads, "--peers", str(tmp_path / "none"), "--json", str(file)]
    assert 0 == command.main([*given, *options])
    return Report.read(file)


@pytest.mark.usefixtures("small")
def test_a_run_without_peers_measures_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure of the floor and gloss is there, none of a peer, and that is said."""
    report = run(tmp_path)

    printed = capsys.readouterr()
    names = set(report.named)
    assert {"cpu_over_floor", "memory_4x_tokens_over_1x", "bytes_per_firing", "write_share"} <= names
    assert {"cpu_over_floor_256x4", "cpu_over_fresh_floor", "reference_wrong"} <= names
    assert not [name for name in names if name.startswith("peer")]
    assert 2 == report["cpu_over_floor"].runs
    assert 0 == report["reference_wrong"].value
    assert 0 < report["bytes_per_firing"].value
    assert 0 < report["write_share"].value < 1
    assert ("delphi, whose environment `make bench-peers` makes.",) == report.left_out
    assert "not measured: delphi" in printed.err
    assert "| 256, 4 |" in printed.out


@pytest.mark.usefixtures("small")
def test_a_report_names_no_place(tmp_path: Path) -> None:
    """Neither paths nor the machine's name are in it, and scratch files are gone."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    report = run(tmp_path, "--scratch", str(scratch))

    assert report.command.startswith("python -m benchmarks.cache --quick")
    assert str(tmp_path) not in report.text
    assert [] == list(scratch.iterdir())


@pytest.mark.usefixtures("small")
def test_firings_that_differ_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 1, before any figure is written."""
    wrong = {"firings": 100, "equal": 99, "stepped": 0, "tied": 0, "wrong": 1}

    def lying(module: str, request: Mapping[str, object], **options: object) -> dict[str, Any]:
        return {"reference": wrong} if module.endswith("check") else in_process(module, request, **options)

    monkeypatch.setattr(child, "run", lying)
    file = tmp_path / "report.json"

    assert 1 == command.main(["--quick", "--peers", str(tmp_path), "--json", str(file)])
    assert "firings differ at 32768x1 against the reference: of 100 1 are wrong" in capsys.readouterr().err
    assert not file.exists()


def test_a_gpu_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    if torch.cuda.is_available():
        pytest.skip("there is one")

    assert 2 == command.main(["--quick", "--device", "cuda"])
    assert "there is no GPU that torch can use" in capsys.readouterr().err


def test_the_page_is_written_again_from_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--from` measures nothing, and a page has the peer's columns where the report has them."""
    figures = [Figure.of(f"{name}_cpu_us_4096x1", [value]) for name, value in (("floor", 10), ("peer", 44))]
    figures += [Figure.of("cpu_over_floor_4096x1", [1.2]), Figure.of("peer_cpu_over_gloss_4096x1", [3.7])]
    machine = {"cpu": "abacus", "cores": 2, "memory_gb": 1, "os": "none"}
    report = Report("cache", machine, tuple(figures), "python -m benchmarks.cache", "2025-01-01")
    file = tmp_path / "report.json"
    file.write_text(report.text, encoding="utf-8")
    monkeypatch.setattr(page, "FILE", tmp_path / "page.md")

    assert 0 == command.main(["--from", str(file)])

    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert (
        "| width, sites | floor | delphi | gloss / floor | delphi / gloss | floor, MB | delphi, MB |" in text
    )
    assert "| 4,096, 1 | 10 | 44 | 1.2 | 3.7 |  |  |" in text
    assert [] == tables(replace(report, figures=()))


def test_sizes_are_whole_batches() -> None:
    """delphi drops the rest of a corpus that is no whole number of batches, which would differ from gloss."""
    for (device, _), sizes in cases.SIZES.items():
        shape = cases.SHAPES[device]
        assert all(case.tokens % (shape.sequence * shape.batch) == 0 for case in sizes.cases)
        assert cases.HEADLINE in {case.name for case in sizes.cases}
        assert (4, 4) == tuple(large // small for small, large in (sizes.memory, sizes.peer_memory))


def test_report_is_one_object_with_the_agreed_keys(tmp_path: Path, small: None) -> None:
    """Whoever reads it finds name, value, unit, low, high and runs of each figure."""
    run(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))

    assert "cache" == content["benchmark"]
    assert {"cpu", "cores", "memory_gb", "os", "python", "torch", "duckdb", "gpu"} <= set(content["machine"])
    for figure in content["figures"]:
        assert ["name", "value", "unit", "low", "high", "runs"] == list(figure)
        assert figure["low"] <= figure["value"] <= figure["high"]
