"""What the counter before an S3 server counts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from s3fs import S3FileSystem

from benchmarks.sample.s3 import BUCKET, Served, served
from storage.lake import Lake
from storage.tables import ACTIVATIONS

FILE = f"{BUCKET}/lake/data"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server with an empty bucket, and variables that lead to it through the counter."""
    (tmp_path / BUCKET).mkdir()
    with served(tmp_path) as server:
        for name, value in server.counted.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()  # they are kept by arguments, and their credentials are none
        yield server
    S3FileSystem.clear_instance_cache()


def client() -> S3FileSystem:
    """One that looks for nothing before it reads."""
    return S3FileSystem(config_kwargs={"response_checksum_validation": "when_required"})


def test_bytes_that_are_sent_are_counted(server: Served) -> None:
    """Those of a range as those of a whole file, by path; what is written and what is asked about counts nothing."""
    content = bytes(range(256)) * 40
    client().pipe_file(FILE, content)
    client().info(FILE)
    assert 0 == server.sent.bytes["lake/data"]

    assert content[5:105] == client().cat_file(FILE, start=5, end=105)
    assert 100 == server.sent.bytes["lake/data"]
    assert content == client().cat_file(FILE)
    assert 100 + len(content) == server.sent.bytes["lake/data"]

    server.sent.clear()
    assert 0 == server.sent.bytes.total()


def test_a_file_that_is_not_there_is_not_there(server: Served) -> None:
    """The server's refusals pass through; their words are nobody's bytes."""
    with pytest.raises(FileNotFoundError):
        client().cat_file(FILE)
    assert 0 == server.sent.bytes["lake/data"]


def test_a_row_group_that_is_skipped_is_not_sent(server: Served) -> None:
    """DuckDB reads through the counter as it reads a lake: of a part sorted by feature what a bound leaves."""
    n = 400_000
    order = np.arange(n)
    activation = np.random.default_rng(0).random(n, np.float32)
    columns = {"feature": order, "sequence": order, "position": order % 256, "activation": activation}
    lake = Lake(f"s3://{BUCKET}/lake")
    size = lake.write(ACTIVATIONS, "activations/one", pa.table({"coder": ["toy"] * n, **columns}))

    server.sent.clear()
    with lake.connect() as connection:
        result = connection.execute(
            "select sum(sequence) from read_parquet($path) where feature < 10",
            {"path": lake.path("activations/one")},
        ).fetchone()

    assert (45,) == result
    assert 0 < server.sent.bytes["lake/activations/one"] < size / 2


def test_variables_past_the_counter_lead_to_the_same_files(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is counted there."""
    client().pipe_file(FILE, b"there")
    for name, value in server.direct.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()

    assert b"there" == client().cat_file(FILE)
    assert 0 == server.sent.bytes.total()
