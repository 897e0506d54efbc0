"""The command from its options to its report, on sizes that take seconds."""

import importlib
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3fs import S3FileSystem
from safetensors.numpy import load_file

from benchmarks import child, page, peers
from benchmarks.peers import Peers
from benchmarks.report import Figure, Report
from benchmarks.sample import __main__ as command
from benchmarks.sample import bench, cases, sampling, versus, wide
from benchmarks.sample.cases import STRONGEST, Sizes, Versus, Wide, spread
from benchmarks.sample.firings import Coder
from benchmarks.sample.tables import tables
from flows import parts
from storage import part
from storage.layout import ranges
from tasks.sampling import DECILES, corpus_text
from tasks.sampling.config import Sampling

pytestmark = pytest.mark.e2e

SEQUENCE = 64
SIZES = Sizes(
    versus=Versus(width=256, per_token=1.3, sequences=2048, rounds=2, repeats=1),
    wide=Wide(
        width=2048,
        narrow=512,
        per_token=3.0,
        sizes=(64, 128, 256, 512),
        spans=2,
        rounds=1,
        from_s3=1,
    ),
)
FIXED = {
    "features_per_second_over_peer",
    "peak_gb_million_features",
    "time_4x_firings_over_1x",
    "s3_bytes_over_needed",
}
"""The figures that others look for."""


def delphi(request: Mapping[str, Any]) -> dict[str, Any]:
    """What delphi would answer: its splits, window by window."""
    made: dict[int, dict[int, float]] = defaultdict(dict)
    tokens: list[list[int]] = []
    for file in Path(request["splits"], request["hookpoint"]).glob("*.safetensors"):
        split, first = load_file(file), int(file.stem.split("_")[0])
        tokens = split["tokens"].reshape(-1, 32).tolist()
        for (row, position, feature), value in zip(
            split["locations"].tolist(), split["activations"].tolist(), strict=True
        ):
            peaks, window = made[first + feature], (row * SEQUENCE + position) // 32
            peaks[window] = max(value, peaks.get(window, 0))
    result = {}
    for feature, peaks in made.items():
        strongest = sorted(peaks, key=lambda window: -peaks[window])[: request["strongest"]]
        result[str(feature)] = {
            "windows": len(peaks),
            "strongest": [(peaks[window], tokens[window]) for window in strongest],
        }
    used = {"cpu_s": 80.0, "wall_s": 100.0, "peak_bytes": 10**6}
    return {**used, "sampled": len(result), "contexts": 1, "made": result, "versions": {"eai-delphi": "0"}}


def in_process(module: str, request: Mapping[str, Any], **_: object) -> dict[str, Any]:
    """A child's answer from this process, through JSON as from another one."""
    S3FileSystem.clear_instance_cache()
    corpus_text._cache.clear()  # another process would have none
    if module.endswith("delphi_peer"):
        return delphi(request)
    answer = importlib.import_module(module).answer(json.loads(json.dumps(request)))
    return json.loads(json.dumps(answer))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sizes, children in this process."""
    monkeypatch.setattr(child, "run", in_process)
    monkeypatch.setitem(cases.SIZES, "quick", SIZES)
    monkeypatch.setattr(bench, "SHARD", 64)
    for module in (part, parts):
        monkeypatch.setattr(module, "ROW_GROUP", 1000)
    for module in (cases, sampling):
        monkeypatch.setattr(module, "BUCKET", 64)
    for module in (versus, wide):
        monkeypatch.setattr(module, "SEQUENCE", SEQUENCE)
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "ENDPOINT_URL", "EC2_METADATA_DISABLED"):
        monkeypatch.setenv(f"AWS_{name}", "")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that are there."""
    monkeypatch.setattr(peers, "peers", lambda *_: Peers(sys.executable, ""))


def run(tmp_path: Path, *options: str) -> Report:
    """What the command wrote."""
    file = tmp_path / "report.json"
    given = ["--quick", "--threads", "2", "--peers", str(tmp_path / "none"), "--json", str(file)]
    assert 0 == command.main([*given, *options])
    return Report.read(file)


@pytest.mark.usefixtures("small", "environment")
def test_a_run_has_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of both systems on one cache, whose strongest windows agree, and of the wide one; a section shows them."""
    report = run(tmp_path)

    printed = capsys.readouterr()
    assert set(report.named) >= FIXED
    assert FIXED <= set(report.bounds)
    assert (256, 256, 0) == tuple(report[f"peer_{name}"].value for name in ("features", "equal", "wrong"))
    assert 2 == report["features_per_second_over_peer"].runs
    ours = report["gloss_features_per_second"]
    assert report["features_per_second_over_peer"].value == pytest.approx(ours.value / (256 / 100), rel=0.3)
    assert 140 == report["gloss_contexts_per_feature"].value
    own = Sampling()
    drawn = own.explain + DECILES * own.per_decile + sum(kind.n for kind in own.negatives)
    assert drawn == report["default_contexts_per_feature"].value
    assert 240 == report["earlier_contexts_per_feature"].value
    firings = [int(name.split("_")[2]) for name in report.named if name.startswith("span_ms_")][:4]
    assert [pytest.approx(firings[-1] / n, rel=0.1) for n in (8, 4, 2, 1)] == firings
    assert 2 == report["spans_sampled"].value
    assert report["features_per_span"].value > 2 * 64
    assert 1 <= report["s3_activations_bytes_over_needed"].value < report["s3_bytes_over_needed"].value
    assert report["s3_bytes_over_needed"].value < report["s3_bytes_over_needed_alone"].value
    assert report["s3_mb_needed"].value > 2 * report["s3_mb_needed_alone"].value
    assert 0 < report["peak_gb_million_features"].value < 4
    assert "as many contexts as delphi draws, round 2 of 2" in printed.err
    assert f"| {firings[0]:,} |" in printed.out
    assert "of 256 features 256 have the same ones" in printed.out


@pytest.mark.usefixtures("small")
def test_a_run_without_peers_measures_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what it left out; no path is in its report, and no file stays."""
    monkeypatch.setattr(wide, "measure", lambda bench, _: bench.note("peak_gb_million_features", [5.0], "GB"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    report = run(tmp_path, "--scratch", str(scratch))

    assert {"gloss_features_per_second", "default_peak_mb", "versus_firings"} <= set(report.named)
    assert not report.bounds["peak_gb_million_features"].met(report["peak_gb_million_features"])
    assert not [name for name in report.named if "peer" in name]
    assert ("delphi, whose environment `make bench-peers` makes.",) == report.left_out
    assert "not measured: delphi" in capsys.readouterr().err
    assert str(tmp_path) not in report.text
    assert [] == list(scratch.rglob("*.parquet"))


@pytest.mark.usefixtures("small", "environment")
def test_windows_that_differ_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 1, before any figure is written: here delphi has another strongest window of one feature."""

    def lying(module: str, request: Mapping[str, Any], **options: object) -> dict[str, Any]:
        result = in_process(module, request, **options)
        if module.endswith("delphi_peer"):
            peak, tokens = result["made"]["7"]["strongest"][0]
            result["made"]["7"]["strongest"][0] = (peak, tokens[::-1])
        return result

    monkeypatch.setattr(child, "run", lying)
    file = tmp_path / "report.json"

    assert 1 == command.main(["--quick", "--json", str(file)])
    assert "differ from delphi's for 1 of 256 features" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.usefixtures("small")
def test_features_that_are_skipped_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 1: a system that skips features would look fast. Here they fire too seldom."""
    seldom = replace(SIZES, versus=replace(SIZES.versus, per_token=1, rounds=1))
    monkeypatch.setitem(cases.SIZES, "quick", seldom)

    assert 1 == command.main(["--quick", "--threads", "2", "--peers", str(tmp_path / "none")])
    assert " of 256 features; choose sizes at which none is skipped" in capsys.readouterr().err


def test_a_gpu_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    assert 2 == command.main(["--quick", "--device", "cuda"])
    assert "sampling runs on CPUs only" in capsys.readouterr().err


def test_the_page_is_written_again_from_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--from` measures nothing; what was not measured has no table."""
    figures = [
        Figure.of(f"gloss_{name}", [value])
        for name, value in (("features_per_second", 400), ("contexts_per_feature", 140))
    ]
    machine = {"cpu": "abacus", "cores": 2, "memory_gb": 1, "os": "none"}
    report = Report("sample", machine, tuple(figures), "python -m benchmarks.sample", "2025-01-01")
    file = tmp_path / "report.json"
    file.write_text(report.text, encoding="utf-8")
    monkeypatch.setattr(page, "FILE", tmp_path / "page.md")

    assert 0 == command.main(["--from", str(file)])

    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| gloss | 140 | 400 |  |  |" in text
    assert "delphi |" not in text
    assert "S3" not in text
    assert [] == tables(replace(report, figures=()))


def test_sizes_are_what_figures_are_called() -> None:
    """Whole parts, each size twice the one before; the full run has a million features and 200 M firings."""
    for sizes in cases.SIZES.values():
        once, *more = sizes.wide.sizes
        assert [2 * once, 4 * once, 8 * once] == more
        assert 0 == once % cases.SHARD
        assert 10**6 == sizes.wide.width == 4 * sizes.wide.narrow
        assert sizes.versus.width >= 2 * cases.BUCKET  # else the second core has nothing to do
    full = cases.SIZES["full"].wide
    densities = Coder(full.width, full.per_token, cases.SEQUENCE).densities
    assert full.sizes[-1] * (cases.SEQUENCE - 1) * (1 - np.exp(-densities)).sum() > 2e8  # once on a token
    assert STRONGEST == cases.TOP["explain"]


@pytest.mark.parametrize(
    ("total", "n", "begin", "places"),
    [(10, 5, 0, [0, 2, 4, 6, 8]), (10, 3, 8, [8, 1, 4]), (3, 9, 1, [1, 2, 0]), (1, 2, 0, [0])],
)
def test_spans_are_spread_over_all_features(total: int, n: int, begin: int, places: list[int]) -> None:
    """At equal distances from the one that is wanted, none twice."""
    every = [[bucket] for bucket in ranges(total, 1)]

    assert [every[place] for place in places] == spread(every, n, begin)
