"""What is peculiar to a lake in a bucket: how DuckDB gets at it, who may, and what is never said."""

import importlib.util
import logging

import pytest
from s3fs import S3FileSystem

from storage.errors import WrongRequest
from storage.lake import Lake
from storage.tables import ACTIVATIONS
from tests.s3 import BUCKET, Place
from tests.storage.toys import WANTED, firings, step


def made(place: Place) -> Lake:
    lake = Lake(place.uri)
    lake.write(ACTIVATIONS, step().part("activations", WANTED[0]), firings(3, 5))
    lake.commit(step(), WANTED[:1])
    return lake


def filesystems(lake: Lake) -> list[str]:
    """What a lake's connection reads through."""
    with lake.connect() as connection:
        return connection.list_filesystems()


def test_objects_lie_where_their_paths_say(s3: Place) -> None:
    """The server's own disk holds the parts and the manifest, and nothing else."""
    lake = made(s3)
    on_disk = {path.relative_to(s3.folder).as_posix() for path in s3.folder.rglob("*") if path.is_file()}
    assert {step().part("activations", WANTED[0]), step().manifest} == on_disk == set(lake.files(""))


def test_duckdb_reads_a_bucket_by_itself(s3: Place) -> None:
    """httpfs is loaded from its package, and no Python filesystem stands between."""
    assert {"HTTPFileSystem", "S3FileSystem"} <= set(filesystems(made(s3)))


def test_without_the_extension_s3fs_reads_and_the_log_says_so(
    s3: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing package makes reading slower and no less right."""
    lake = made(s3)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "duckdb_extension_httpfs" else find_spec(name, *rest),
    )
    with caplog.at_level(logging.WARNING):
        through = filesystems(lake)
        rows = lake.read("activations", lake.parts(step(), "activations"))
    assert "HTTPFileSystem" not in through
    assert firings(3, 5).equals(rows)
    warnings = [entry for entry in caplog.records if entry.name == "storage.backends.s3"]
    assert [logging.WARNING, logging.WARNING] == [entry.levelno for entry in warnings]


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_is_the_one_of_the_environment(
    s3: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """DuckDB signs for the region that either variable names."""
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(name, "eu-north-1")
    with Lake(s3.uri).connect() as connection:
        secrets = connection.execute("select secret_string from duckdb_secrets()").fetchall()
    assert "region=eu-north-1" in secrets[0][0]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "guessed-secret")],
)
def test_wrong_credentials_are_refused_in_one_sentence(
    s3: Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    value: str,
) -> None:
    """A lake that the server refuses cannot be written; neither message nor log tells a secret."""
    monkeypatch.setenv(variable, value)
    S3FileSystem.clear_instance_cache()
    with caplog.at_level(logging.DEBUG, "storage"), pytest.raises(WrongRequest) as refusal:
        Lake(s3.uri).check_writable()
    message = str(refusal.value)
    assert message.startswith(f"lake {s3.uri} cannot be written (")
    assert 1 == len(message.splitlines())
    assert not any(word in message + caplog.text for word in (s3.server.secret, "guessed-secret"))


def test_a_bucket_that_is_not_there_is_refused(s3: Place) -> None:
    """gloss makes no buckets."""
    with pytest.raises(WrongRequest, match=r"lake s3://elsewhere/lake cannot be written \("):
        Lake("s3://elsewhere/lake").check_writable()
    assert not (s3.server.folder / "elsewhere").exists()


def test_a_whole_bucket_can_be_a_lake(s3: Place) -> None:
    """A prefix is not needed, and a slash at the end changes nothing."""
    lake = Lake(f"s3://{BUCKET}/")
    name = f"runs/{s3.folder.name}.json"
    lake.write_json(name, {})
    assert name in lake.files("runs")
    assert f"s3://{BUCKET}/{name}" == lake.path(name)


@pytest.mark.parametrize("prefix", ["with space", "plus+and%20percent", "ünï", "hash#"])
def test_prefixes_with_unusual_characters_work(s3: Place, prefix: str) -> None:
    """What a bucket allows in a name, a lake allows."""
    lake = Lake(f"{s3.uri}/{prefix}")
    lake.write(ACTIVATIONS, step().part("activations", WANTED[0]), firings(3))
    lake.commit(step(), WANTED[:1])
    assert firings(3).equals(lake.read("activations", lake.parts(step(), "activations")))


def test_credentials_are_nowhere_to_be_found(s3: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what is stored nor what is logged nor what SQL can ask for holds the secret."""
    with caplog.at_level(logging.DEBUG, "storage"):
        lake = made(s3)
        with lake.connect() as connection:
            shown = str(connection.execute("from duckdb_secrets()").fetchall())
            shown += str(connection.execute("from duckdb_settings()").fetchall())
    stored = b"".join(path.read_bytes() for path in s3.folder.rglob("*") if path.is_file())
    assert s3.server.secret not in shown + caplog.text
    assert s3.server.secret.encode() not in stored
    assert s3.server.key.encode() not in stored


def test_an_error_while_reading_tells_no_secret(s3: Place) -> None:
    """DuckDB's own words about an object that is not there name its address and no credentials."""
    lake = made(s3)
    with pytest.raises(Exception, match=r"nowhere\.parquet") as failure:
        lake.read("activations", [lake.path("nowhere.parquet")])
    assert s3.server.secret not in str(failure.value)
