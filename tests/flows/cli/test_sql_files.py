"""CSV, JSON and Parquet: the same rows in each, whatever their types, without holding them all."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cli import sql
from flows.terminal import inert

EVERY = """
select
    7::bigint as "big", 7::hugeint as huge, 1.5::decimal(4, 2) as money, 0.1::float as short, 0.1::double as long,
    'nan'::double as nan, 'inf'::float as inf, true as yes, null as nothing, date '2026-01-02' as day,
    timestamp '2026-01-02 03:04:05' as moment, 'a "b", c' || chr(10) || 'é' as text, '' as empty,
    [1, null, 3] as list, {'a': 'x', 'b': [1.5]} as struct, map(['k'], [1]) as map, 'x'::enum('x') as enum,
    1 as "an ""odd"" name", 2 as feature, 3 as feature
"""


def _written(form: str, question: str) -> str:
    sink = io.BytesIO()
    with duckdb.connect() as connection:
        sql.WRITERS[form](connection.sql(question).query("answer", "from answer"), sink)
    return sink.getvalue().decode()


def test_json_holds_every_type() -> None:
    """Numbers are numbers with the digits they need; what JSON cannot say is null."""
    (row,) = json.loads(_written("json", EVERY))

    assert (7, 7, 1.5, 0.1, 0.1, None, None, True, None) == tuple(row.values())[:9]
    assert ("2026-01-02", "2026-01-02 03:04:05", 'a "b", c\né', "") == tuple(row.values())[9:13]
    assert ([1, None, 3], {"a": "x", "b": [1.5]}, {"k": 1}, "x") == tuple(row.values())[13:17]
    assert (1, 2, 3) == (row['an "odd" name'], row["feature"], row["feature_1"])


def test_csv_holds_every_type() -> None:
    """Null is nothing, empty text is quoted; lists and structs are JSON."""
    text = _written("csv", EVERY)
    (row,) = csv.DictReader(io.StringIO(text))

    assert ("7", "7", "1.50", "0.1", "0.1", "nan", "inf", "true", "") == tuple(row.values())[:9]
    assert 'a "b", c\né' == row["text"]
    assert ([1, None, 3], {"a": "x", "b": [1.5]}) == (json.loads(row["list"]), json.loads(row["struct"]))
    assert ',"",' in text


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eabc\x08 \U000e0041 déjà vu 👩\u200d🔬"


def test_json_has_nothing_that_a_terminal_obeys() -> None:
    """And every character for whoever reads it as JSON."""
    with duckdb.connect() as connection:
        sink = io.BytesIO()
        answer = connection.sql("select $text as text", params={"text": HOSTILE})
        sql.write_json(answer, sink)

    assert [{"text": HOSTILE}] == json.loads(sink.getvalue())
    assert inert(sink.getvalue().decode()) == sink.getvalue().decode()
    assert "déjà vu 👩\u200d🔬" in sink.getvalue().decode()


@given(st.text(), st.integers(1, 5))
def test_a_terminal_is_shown_codes(text: str, size: int) -> None:
    """Wherever the bytes were cut."""
    sink, written = io.BytesIO(), f"{HOSTILE}{text}".encode(errors="ignore")
    shown = sql.Shown(sink)
    for begin in range(0, len(written), size):
        shown.write(written[begin : begin + size])

    assert inert(written.decode()) == sink.getvalue().decode()


@pytest.mark.parametrize(("form", "text"), [("json", "[]\n"), ("csv", '"feature"\n')])
def test_no_rows_are_written_too(form: str, text: str) -> None:
    """An empty array; a header."""
    assert text == _written(form, "select 1 as feature where false")


VALUES = st.lists(
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.text(), st.floats(allow_nan=False)), max_size=20
)


@settings(deadline=None)
@given(VALUES)
def test_all_formats_hold_the_same_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    """Read again they are what was asked for, in its order."""
    rows = [(n, text.replace("\x00", "").replace("\r", ""), x) for n, text, x in rows]
    file = tmp_path_factory.mktemp("answers") / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute("create table t (n integer, text varchar, x double)")
        if rows:
            connection.executemany("insert into t values (?, ?, ?)", rows)
        answer = connection.table("t")
        out = {form: io.BytesIO() for form in sql.WRITERS}
        for form, sink in out.items():
            sql.WRITERS[form](answer, sink)
        sql.write_parquet(answer, file)

    from_json = [tuple(row.values()) for row in json.loads(out["json"].getvalue())]
    from_csv = list(csv.reader(io.StringIO(out["csv"].getvalue().decode(), newline="")))[1:]
    finite = [(n, text, x if abs(x) != float("inf") else None) for n, text, x in rows]
    assert finite == from_json
    assert rows == [(int(n), text, float(x)) for n, text, x in from_csv]
    assert rows == [tuple(row.values()) for row in pq.read_table(file).to_pylist()]


MEASURE = """
import resource, sys
import duckdb
from flows.cli import sql
with duckdb.connect() as connection, open("/dev/null", "wb") as sink:
    connection.execute("set threads = 1; set enable_progress_bar = false")
    answer = connection.sql("select range as n, 'feature ' || range as text, [range, 1] as l from range({rows})")
    sql.WRITERS["{form}"](answer, sink)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("form", sql.WRITERS)
def test_many_rows_take_no_more_memory_than_few(form: str) -> None:
    """A million rows of 60 bytes, which would be 200 MB as Arrow and gigabytes as Python objects."""
    few, many = (
        int(subprocess.check_output([sys.executable, "-c", MEASURE.format(form=form, rows=rows)]))
        for rows in (20_000, 1_000_000)
    )

    assert many - few < 60_000, f"{(many - few) / 1000:.0f} MB more"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there stays until the new answer is complete, and a failure leaves nothing beside it."""
    file = tmp_path / "rows.csv"
    file.write_text("old")

    with pytest.raises(UnicodeEncodeError), sql.written_whole(file) as draft:
        draft.write_text("half \udc80", encoding="utf-8")
    assert (["rows.csv"], "old") == ([path.name for path in tmp_path.iterdir()], file.read_text())

    with sql.written_whole(file) as draft:
        draft.write_text("new")
    assert (["rows.csv"], "new") == ([path.name for path in tmp_path.iterdir()], file.read_text())


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Its target is what is written."""
    (tmp_path / "real.csv").write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "real.csv")

    with sql.written_whole(link) as draft:
        draft.write_text("new")

    assert (True, "new") == (link.is_symlink(), (tmp_path / "real.csv").read_text())


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """A pipe and /dev/null are what they were."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with sql.written_whole(pipe) as draft, sql.written_whole(Path("/dev/null")) as null:
        assert (pipe, Path("/dev/null")) == (draft, null)
    assert pipe.is_fifo()
