"""`gloss tables` and `gloss status`: what a lake holds, what it means, and how far its runs are."""

from pathlib import Path

import duckdb
import pytest

from flows.cli.main import main
from storage import summary
from storage.tables import TABLES
from tests.storage import made as made_lake


def _flat(text: str) -> str:
    return " ".join(text.split())


def test_every_table_has_its_rows_and_bytes(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are those of the files, and the grain is the declared one."""
    assert 0 == main(["tables", "--lake", str(lake)])

    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    for name in TABLES:
        files = f"{lake}/{name}/*/*.parquet"
        (rows,) = duckdb.sql(f"select count(*) from read_parquet('{files}')").fetchone() or (0,)
        size = sum(file.stat().st_size for file in lake.glob(f"{name}/*/*.parquet"))
        assert [name, f"{rows:,}", f"{size / 1e6:,.1f}", "MB"] == lines[name][:4]
    assert ["summary", "40", "view"] == lines["summary"][:3]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_what_it_means(lake: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Grain, keys, and every column with its meaning, its unit and what null means."""
    assert 0 == main(["tables", name, "--lake", str(lake)])

    shown = _flat(capsys.readouterr().out)
    assert f"{name}: {TABLES[name].grain}" in shown
    for field in TABLES[name].schema:
        assert field.name in shown
    assert " rows, " in shown


def test_columns_are_described_in_full(
    lake: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a wide terminal each stands in one line."""
    monkeypatch.setenv("COLUMNS", "400")

    assert 0 == main(["tables", "requests", "--lake", str(lake)])

    assert (
        "cost double Price at the reader's rates. Unit: currency of the rates. Null: the reader's config names no "
        "rates, or the endpoint did not count tokens."
    ) in _flat(capsys.readouterr().out)


def test_summary_has_the_columns_of_the_lakes_scorers(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that `select * from summary` has, by name."""
    assert 0 == main(["tables", "summary", "--lake", str(lake)])

    shown = capsys.readouterr().out
    assert [] == [name for name in summary.schema(("detection", "fuzzing")).names if name not in shown]


def test_columns_need_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a table means can be asked of an empty lake; a scorer's name stands open."""
    assert 0 == main(["tables", "summary", "--lake", str(tmp_path)])

    shown = capsys.readouterr().out
    assert "<scorer>_margin" in shown
    assert "holds no run" in shown


def test_a_name_that_is_nearly_one_is_pointed_at(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt table is refused with the right name."""
    assert 2 == main(["tables", "judgments", "--lake", str(lake)])
    assert "did you mean judgements?" in capsys.readouterr().err


def test_status_shows_each_step_below_its_stage(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stages stand once each, in the order of the run; a title counts the complete steps."""
    assert 0 == main(["status", "--lake", str(lake)])

    title, _, header, _, *lines = capsys.readouterr().out.splitlines()
    stages = [line.strip() for line in lines if line.strip() and "complete" not in line]
    assert f"made in {lake}: 28 of 28 steps complete" == title
    assert ["step", "state", "parts", "rows", "MB"] == header.split()
    assert stages == list(dict.fromkeys(stages))
    assert ["tokens", "activations", "features", "contexts", "explanations"] == stages[:5]
    assert ["large", "small"] == sorted(
        line.split()[0] for line in lines[lines.index(_line(lines, "features")) :][1:3]
    )


def _line(lines: list[str], word: str) -> str:
    return next(line for line in lines if line.split() == [word])


@pytest.mark.parametrize("words", [("status",), ("tables",), ("tables", "summary")], ids=" ".join)
def test_long_names_are_whole_on_80_columns(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """Names are broken after slashes alone, and no line is wider than the terminal."""
    coder = "llama-3.1-8b-instruct-layer-23-residual"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(made_lake, "CODERS", {coder: "layers.2", "small": "layers.5"})
    made_lake.made((tmp_path / "lake").as_posix(), ("detection", "fuzzing_of_mismarked_tokens"))
    monkeypatch.chdir(tmp_path)

    assert 0 == main([*words, "--lake", "lake"])

    lines = capsys.readouterr().out.splitlines()
    if words == ("status",):
        pieces = {piece for line in lines for piece in line.split()}
        assert {
            coder,
            f"{coder}/odd/",
            "fuzzing_of_mismarked_tokens",
            "small/odd/fuzzing_of_mismarked_tokens",
        } <= pieces
    if words[-1] == "summary":
        assert [line for line in lines if line.startswith("fuzzing_of_mismarked_tokens_margin ")]
    assert 80 >= max(len(line.rstrip()) for line in lines if line != lines[0])
