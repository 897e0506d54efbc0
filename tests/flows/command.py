"""Runs the `gloss` command as a user does, in a process of its own, on the toy and a little of the demo's text."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from storage import runs
from storage.lake import Lake
from storage.tables import TABLES

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "deployments" / "demo" / "corpus.parquet"
TOY = ROOT / "tests" / "toy"
"""A language model and coder that are small enough for tests."""

TINY = {
    "run": "tiny",
    "subject": {"model": str(TOY / "subject")},
    "corpus": {"path": str(CORPUS), "tokens": 40_960},
    "coders": [
        {
            "name": "demo",
            "site": "layers.2",
            "source": {"kind": "sparsify", "path": str(TOY / "coder/sparsify")},
        }
    ],
    "features": {"choose": "sample", "n": 48},
    "sample": {"explain": 20, "per_decile": 4, "negatives": [{"kind": "random", "n": 20}], "min_firings": 60},
    "explainers": [{"kind": "exemplars", "reader": "baseline"}],
    "scorers": [{"kind": "detection", "reader": "baseline"}, {"kind": "fuzzing", "reader": "baseline"}],
    "readers": {"baseline": {"kind": "baseline"}},
    "runner": {"kind": "threads", "shard": 32, "bucket": 6, "buckets_in_flight": 1},
    "reader_check": False,  # tests count what readers are asked; those of the check turn it on
}
"""A run of half a minute: 5 shards, 8 buckets."""


def write_config(folder: Path, lake: str, **changes: object) -> Path:
    """A config file for the tiny run with some keys changed."""
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**TINY, "lake": lake, **changes}), encoding="utf-8")
    return file


def start(arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    """Begin a command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def gloss(arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    with start(arguments, environment) as process:
        out, err = process.communicate(timeout=400)
    return subprocess.CompletedProcess(list(arguments), process.returncode, out, err)


UNREPEATABLE = {"requests": ["latency"]}
"""Columns that tell of time and not of content."""


def tables(lake: str, run: str = "tiny") -> dict[str, list[tuple]]:
    """All rows of all tables of a run, in the order of their keys."""
    place = Lake(lake)
    rows_by_table = {}
    with place.connect() as connection:
        runs.create_views(place, connection, run)
        for name, table in TABLES.items():
            keys = ", ".join(f'"{key}"' for key in table.keys)
            left_out = ", ".join(UNREPEATABLE.get(name, []))
            chosen = f"* exclude ({left_out})" if left_out else "*"
            rows_by_table[name] = connection.sql(f"select {chosen} from {name} order by {keys}").fetchall()
    return rows_by_table
