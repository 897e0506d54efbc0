"""A run with several coders through the command: one cache, the coders compared, and nothing done twice."""

import re
from pathlib import Path

from tests.flows.command import TINY, gloss, tables, write_config

CODERS = [
    *TINY["coders"],
    {"name": "neurons", "site": "layers.2.mlp.down_proj.input", "source": {"kind": "neurons", "k": 16}},
    {"name": "random", "site": "layers.2", "source": {"kind": "random", "width": 512, "k": 16}},
]
NAMES = [coder["name"] for coder in CODERS]
SCORERS = ("detection", "fuzzing")
RUNNER = {"kind": "threads", "shard": 80, "bucket": 64}


def test_coders_are_compared_and_nothing_is_done_twice(tmp_path: Path, prefect: dict[str, str]) -> None:
    """A trained coder, neurons and random weights: each has its features' scores, and the report puts them in order."""
    lake = tmp_path / "lake"
    changes = {"coders": CODERS, "features": {"choose": "sample", "n": 12}, "runner": RUNNER}
    config = str(write_config(tmp_path, str(lake), **changes))

    ended = gloss(["run", config], prefect)

    assert 0 == ended.returncode, ended.stderr
    order = " [>~] ".join([rf"(?:{'|'.join(NAMES)}) [.]\d\d"] * len(NAMES))
    for scorer in SCORERS:
        (line,) = re.findall(rf"^  {scorer}: ({order} [<>~] floor [.]\d\d.*?) *$", ended.stdout, re.MULTILINE)
        assert all(f"{name} ." in line for name in NAMES)
    scored = {(row[1], row[7]) for row in tables(str(lake))["scores"]}
    assert {(name, scorer) for name in NAMES for scorer in SCORERS} == scored

    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}
    again = gloss(["run", config], prefect | {"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert 0 == again.returncode, again.stderr
    assert "Nothing left to do" in again.stdout
    assert ended.stdout[ended.stdout.index("Scores,") :] == again.stdout[again.stdout.index("Scores,") :]
    assert before == {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}
