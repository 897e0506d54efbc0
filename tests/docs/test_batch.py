"""docs/batch.md: what it says of adaptive scorers is so."""

import shutil
from pathlib import Path

import pytest

from flows.cli.main import main
from tests.flows.cli.test_batch import _lines, _result, _write
from tests.flows.command import write_config


def test_adaptive_scorers_are_written_whole(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many requests as without, and those after the last round that was needed are counted and not kept."""
    shutil.copytree(undisturbed, tmp_path / "lake")
    judge = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "tiny"}
    readers = {"baseline": {"kind": "baseline"}, "judge": judge}
    written = []
    for adaptive in (None, {"half_width": 0.2}):
        scorer = {"kind": "detection", "reader": "judge", "adaptive": adaptive}
        config = write_config(tmp_path, str(tmp_path / "lake"), readers=readers, scorers=[scorer])
        file = tmp_path / f"{adaptive is None}.jsonl"
        assert 0 == main(["batch", "write", str(config), "score", str(file)])
        written.append({line["custom_id"] for line in _lines(file)})
    assert written[0] == written[1]

    results = _write(tmp_path / "results", [_result(line) for line in _lines(tmp_path / "False.jsonl")])
    capsys.readouterr()
    assert 0 == main(["batch", "read", str(config), str(results)])
    assert "belong to no request that is still to be asked" in capsys.readouterr().out
    assert 0 == main(["batch", "write", str(config), "score", str(tmp_path / "again.jsonl")])
    assert not (tmp_path / "again.jsonl").exists()
