"""Scores are derived from judgements: another metric asks nobody again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from storage import runs
from storage.lake import Lake
from tests.flows.command import ROOT, tables, write_config

RAISED = """
import asyncio, sys
from flows import cli
from storage import query
from tasks.llm.baseline import reader as baseline
from tasks.llm.request import Request

asked = []
ask = baseline.Baseline.ask

async def counted(self, request):
    asked.append(request.key)
    return await ask(self, request)

baseline.Baseline.ask = counted
stated = query.statement
metric, other = "(hits + rejections) / nullif(answered, 0)", "0.125"

def changed(name):
    if name != "scores_combined":
        return stated(name)
    assert metric in stated(name)
    return stated(name).replace(metric, other)

query.statement = changed
code = cli.main(["run", sys.argv[1]])
run = len(asked)
asyncio.run(baseline.Baseline().ask(Request("probe", prompt="?")))
sys.stdout.write(f"\\nasked {run}, and {len(asked) - run} as a probe")
sys.exit(code)
"""
"""Runs the command with another metric, and counts what the reader is asked."""


def test_a_changed_metric_asks_no_reader(undisturbed: Path, tmp_path: Path, prefect: dict[str, str]) -> None:
    """With another metric a finished run makes its scores anew, and nothing else; no request is sent."""
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    config = write_config(tmp_path, str(lake))
    before, kept = tables(str(lake)), {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}

    ended = subprocess.run(
        [sys.executable, "-c", RAISED, str(config)],
        cwd=ROOT,
        env={**os.environ, **prefect},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert 0 == ended.returncode, ended.stderr
    assert "asked 0, and 1 as a probe" == ended.stdout.splitlines()[-1]
    new = {path for path in lake.rglob("*.parquet") if path not in kept}
    assert {"scores"} == {path.relative_to(lake).parts[0] for path in new}
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    after = tables(str(lake))
    assert {0.125} == _accuracies(lake)
    assert before.pop("scores") != after.pop("scores")
    assert before == after


def _accuracies(lake: Path) -> set[float]:
    place = Lake(str(lake))
    with place.connect() as connection:
        runs.create_views(place, connection, "tiny")
        return {row[0] for row in connection.sql("select distinct accuracy from scores").fetchall()}
