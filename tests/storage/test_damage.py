"""Damaged files of a lake: seen by their sizes, found by their checksums, withdrawn, and not in anyone's way."""

import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.rclone import Server
from storage.errors import Damaged, RunFailed, WrongRequest
from storage.integrity import check_part
from storage.lake import Lake
from storage.layout import Range
from storage.manifest import File, Manifest, content
from storage.part import encode
from storage.tables import ACTIVATIONS, TABLES
from tests.s3 import Place, point_at
from tests.storage.flaky import RESET, Flaky, flaky
from tests.storage.toys import WANTED, firings, step, toy_rows

WHOLE = step("requests", "judgements")
"""A step of two tables."""


def _fill(lake: Lake) -> list[str]:
    for table in WHOLE.tables:
        for part in WANTED:
            lake.write(TABLES[table], WHOLE.part(table, part), toy_rows(TABLES[table]))
    return lake.commit(WHOLE, WANTED).paths


def _manifest(lake: Lake) -> Manifest:
    manifest = lake.manifest(WHOLE)
    assert manifest is not None
    return manifest


def _overwrite(lake: Lake, path: str, data: bytes) -> None:
    lake._backend.put(path, data)


def _read(lake: Lake, path: str) -> bytes:
    return lake.read_bytes(path) or b""


@pytest.mark.parametrize("how", ["cut", "longer", "empty", "gone"])
@pytest.mark.parametrize("table", WHOLE.tables)
def test_a_part_of_another_size_is_missing(lake: Lake, table: str, how: str) -> None:
    """The step is complete no longer and lacks that range alone, whichever of its tables is damaged."""
    _fill(lake)
    path = WHOLE.part(table, WANTED[1])
    data = _read(lake, path)
    if how == "gone":
        lake.remove(path)
    else:
        _overwrite(lake, path, {"cut": data[:-30], "longer": data + b"x", "empty": b""}[how])

    state = lake.state(WHOLE)

    assert not lake.complete(WHOLE)
    assert [path] == list(state.damaged_parts)
    assert f"{path} is damaged: it " in state.damage_line()
    assert [WANTED[1]] == lake.missing(WHOLE, WANTED)


def test_a_withdrawn_part_is_made_anew_and_nothing_else(lake: Lake) -> None:
    """Until then the step has no rows for anyone; what is committed again is what was committed before."""
    _fill(lake)
    before = lake.manifest(WHOLE)
    path = WHOLE.part("judgements", WANTED[0])
    data = _read(lake, path)

    lake.withdraw(WHOLE.manifest, {path: "it has spots"})

    assert (None, False, False) == (lake.manifest(WHOLE), lake.complete(WHOLE), lake.exists(path))
    assert [WANTED[0]] == lake.missing(WHOLE, WANTED)
    with pytest.raises(RunFailed, match="not complete"):
        lake.parts(WHOLE, "requests")
    _overwrite(lake, path, data)
    assert not lake.complete(WHOLE)
    assert [] == lake.missing(WHOLE, WANTED)
    assert before == lake.commit(WHOLE, WANTED) == lake.manifest(WHOLE)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 3000,
        b'{"stage": "activations"}',
        {"parts": {"requests": [], "judgements": ["judgements/../../x.parquet"]}},
        {"parts": {"requests": []}},
        {"rows": {"requests": "2", "judgements": 2}},
        {"files": {"x": {"bytes": -1, "crc32": None}}},
        {"withdrawn": {"/etc/passwd": "it is not mine"}},
    ],
)
def test_a_broken_manifest_is_no_manifest(lake: Lake, text: bytes | dict) -> None:
    """It is named, its parts are there, and the step is committed again without making one."""
    _fill(lake)
    whole = lake.read_json(WHOLE.manifest) or {}
    _overwrite(
        lake, WHOLE.manifest, text if isinstance(text, bytes) else json.dumps({**whole, **text}).encode()
    )

    state = lake.state(WHOLE)

    assert (None, False, None) == (state.manifest, state.complete, lake.manifest(WHOLE))
    assert [WHOLE.manifest] == [damaged.path for damaged in state.damage]
    assert {} == state.damaged_parts
    assert 1 == len(state.damage_line().splitlines())
    assert [] == lake.missing(WHOLE, WANTED)
    lake.commit(WHOLE, WANTED)
    assert lake.complete(WHOLE)


def test_a_manifest_of_before_sizes_and_checksums_is_a_manifest(lake: Lake) -> None:
    """Its step is not redone; a part that is gone is seen as ever, and one that is empty as well."""
    paths = _fill(lake)
    written = lake.read_json(WHOLE.manifest) or {}
    del written["files"]
    lake.write_json(WHOLE.manifest, written)
    assert lake.complete(WHOLE)
    assert [] == lake.missing(WHOLE, WANTED)
    _overwrite(lake, paths[0], b"")
    assert [WANTED[0]] == lake.missing(WHOLE, WANTED)


def test_a_damaged_part_is_found_before_its_step_is_committed(lake: Lake) -> None:
    """It is removed and named, so that to run again makes it anew; the others stay."""
    for part in WANTED:
        lake.write(ACTIVATIONS, step().part("activations", part), firings(3))
    broken = step().part("activations", WANTED[0])
    _overwrite(lake, broken, _read(lake, broken)[:-5])
    with pytest.raises(RunFailed, match=f"1 damaged parts .*{broken}.*run again"):
        lake.commit(step(), WANTED)
    assert lake.manifest(step()) is None
    assert [WANTED[0]] == lake.missing(step(), WANTED)


def test_stray_files_among_the_parts_are_no_parts(lake: Lake) -> None:
    """Whatever they are called."""
    paths = _fill(lake)
    for name in ("notes.txt", "0-10.parquet", "copy of 0000000000-0000000010.parquet", "Thumbs.db"):
        _overwrite(lake, f"{WHOLE.folder('judgements')}/{name}", b"x")
    assert lake.complete(WHOLE)
    assert [] == lake.missing(WHOLE, WANTED)
    assert [lake.path(path) for path in paths if path.startswith("judgements/")] == lake.written_parts(
        WHOLE, "judgements"
    )


def test_a_whole_part_is_whole(lake: Lake) -> None:
    """By the checksum in its manifest, by its own, or by its pages where it has none; its rows are counted."""
    path = _fill(lake)[0]
    size, committed = lake.files("")[path], _manifest(lake).files[path]
    assert 2 == check_part(lake, path, size, committed) == check_part(lake, path, size)
    old = io.BytesIO()
    pq.write_table(firings(1, 2, 3), old)
    _overwrite(lake, path, old.getvalue())
    assert 3 == check_part(lake, path, len(old.getvalue()))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("flipped", "its checksum is"),
        ("cut", "it has"),
        ("replaced", "its checksum is"),
        ("gone", "it is gone"),
    ],
)
def test_what_is_not_as_it_was_committed_is_damaged(lake: Lake, how: str, message: str) -> None:
    """A whole part of other rows in its place as well."""
    path = _fill(lake)[0]
    data = _read(lake, path)
    committed = File(len(data), _manifest(lake).files[path].crc32)
    if how == "flipped":
        _overwrite(lake, path, data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif how == "cut":
        _overwrite(lake, path, data[:-1])
    elif how == "replaced":
        other = encode(ACTIVATIONS, firings(7))
        _overwrite(lake, path, other)
        committed = File(len(other), committed.crc32)
    else:
        lake.remove(path)
    with pytest.raises(Damaged, match=f"{path} is damaged: {message}"):
        check_part(lake, path, lake.files("").get(path), committed)


def test_a_part_of_before_that_is_damaged_is_found_by_its_pages(tmp_path: Path) -> None:
    """Without a checksum, what cannot be decoded is damaged."""
    lake = Lake(tmp_path.as_posix())
    pq.write_table(firings(*range(1000)), tmp_path / "x.parquet", compression="zstd")
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    data[60:90] = b"\xff" * 30
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(Damaged, match="cannot be decoded"):
        check_part(lake, "x.parquet", len(data))


MANY = 10_000


def test_ten_thousand_parts_are_planned_in_two_seconds(
    lake: Lake, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one listing and one manifest: all sizes are compared, the short part is found, none is looked up alone."""
    root = Path(lake.uri) if lake.is_local else request.getfixturevalue("s3").folder
    ranges = [Range(first, first + 1) for first in range(MANY)]
    paths = [step().part("activations", part) for part in ranges]
    (root / step().folder("activations")).mkdir(parents=True)
    data = encode(ACTIVATIONS, firings(3))
    for number, path in enumerate(paths):
        (root / path).write_bytes(data[: -1 if number == 77 else None])
    files = {path: File(len(data), None) for path in paths}
    lake.write_json(step().manifest, content(step(), {"activations": paths}, {"activations": MANY}, files))

    calls: Counter[str] = Counter()
    for name in ("files", "read_bytes", "exists"):
        _count_calls(monkeypatch, name, calls)
    started = time.process_time()  # without that of rclone, which reads every file once per thousand listed
    state = lake.state(step())
    took = time.process_time() - started

    assert [paths[77]] == list(state.damaged_parts)
    assert MANY - 1 == len(state.done)
    assert {"files": len(step().tables), "read_bytes": 1} == calls
    for _ in range(2 if took > 2 else 0):  # other processes on the machine can make one attempt slow, not all
        started = time.process_time()
        lake.state(step())
        took = min(took, time.process_time() - started)
    assert took <= 2, took


def _count_calls(monkeypatch: pytest.MonkeyPatch, name: str, calls: Counter[str]) -> None:
    method = getattr(Lake, name)

    def counted(*arguments: object) -> object:
        calls[name] += 1
        return method(*arguments)

    monkeypatch.setattr(Lake, name, counted)


@pytest.fixture
def disturbed(s3_session: Server, s3: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Lake, Flaky]]:
    """A lake on a real S3 server behind a proxy that can fail requests."""
    with flaky(s3_session.endpoint) as proxy:
        point_at(s3_session, monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield Lake(s3.uri), proxy


@pytest.mark.parametrize(
    ("fault", "times"),
    [(503, 4), (503, 1), (500, 1), (502, 1), (504, 1), (429, 1), (RESET, 1)],
)
def test_a_passing_fault_of_a_bucket_is_borne(disturbed: tuple[Lake, Flaky], fault: int, times: int) -> None:
    """Every request of DuckDB fails some times, by HEAD and by GET, and is sent again."""
    lake, proxy = disturbed
    for part in WANTED:
        lake.write(ACTIVATIONS, step().part("activations", part), firings(3))
    parts = [lake.path(step().part("activations", part)) for part in WANTED]
    for method in ("HEAD", "GET"):
        proxy.disturb(method, fault=fault, times=times)
        assert 2 == lake.read("activations", parts).num_rows
        assert proxy.failed[method] >= 2


def test_a_passing_fault_is_borne_by_writes_listings_and_commits(disturbed: tuple[Lake, Flaky]) -> None:
    """Every request fails once, whatever it is for."""
    lake, proxy = disturbed
    proxy.disturb("HEAD", "GET", "PUT", "DELETE", "POST", fault=503)
    for part in WANTED:
        lake.write(ACTIVATIONS, step().part("activations", part), firings(3))
    lake.commit(step(), WANTED)
    assert lake.complete(step())
    lake.remove(step().part("activations", WANTED[0]))
    assert [WANTED[0]] == lake.missing(step(), WANTED)
    assert {"GET", "PUT", "DELETE"} <= {method for method, count in proxy.failed.items() if count}


def test_without_credentials_a_bucket_is_refused_with_what_to_set(
    s3: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sentence, and soon: requests are not signed, as a public bucket would allow."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    started = time.monotonic()
    with pytest.raises(WrongRequest) as refusal:
        Lake(s3.uri).check_reachable()
    assert "no AWS credentials were found" in str(refusal.value)
    assert "AWS_ACCESS_KEY_ID" in str(refusal.value)
    assert time.monotonic() - started < 15


class _ReadOnly:
    """A place that takes nothing: tests run as root, whom no folder refuses."""

    def put(self, path: str, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", path)


def test_a_read_only_lake_refuses_what_writes_in_one_sentence(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads goes on."""
    _fill(lake)
    monkeypatch.setattr(lake._backend, "put", _ReadOnly().put, raising=False)
    assert lake.complete(WHOLE)
    assert 4 == lake.read("judgements", lake.parts(WHOLE, "judgements")).num_rows
    for write in (
        lake.check_writable,
        lambda: lake.write_json("runs/x.json", {}),
        lambda: lake.write(ACTIVATIONS, step().part("activations", WANTED[0]), firings(1)),
        lambda: lake.commit(WHOLE, WANTED),
        lambda: lake.withdraw(WHOLE.manifest, {WHOLE.part("requests", WANTED[0]): "x"}),
    ):
        with pytest.raises(WrongRequest, match="cannot be written"):
            write()
    assert lake.complete(WHOLE)


def test_drafts_of_killed_writers_are_removed_when_they_are_old(tmp_path: Path) -> None:
    """Those that may be written at this moment stay, and so does everything else."""
    lake = Lake(tmp_path.as_posix())
    _fill(lake)
    folder = tmp_path / WHOLE.folder("judgements")
    names = [".abcd_123.part", ".writable-" + "0" * 32, ".notes.part", ".DS_Store", "a.part"]
    for name in names:
        (folder / name).write_bytes(b"x")
    os.utime(folder / names[0], (0, time.time() - 5000))
    assert 1 == lake.remove_drafts(4000)
    assert names[1:] == [name for name in names if (folder / name).exists()]
    assert 1 == lake.remove_drafts(0)
    assert names[2:] == [name for name in names if (folder / name).exists()]
    assert lake.complete(WHOLE)


def test_what_a_kill_left_in_a_bucket_is_removed(s3: Place) -> None:
    """Probes, and uploads that were not completed where the server lists them."""
    lake = Lake(s3.uri)
    lake._backend.put(".writable-" + "0" * 32, b"")
    assert 0 == lake.remove_drafts(4000)
    assert 1 == lake.remove_drafts(0)
    assert [] == [file.name for file in s3.folder.glob(".*")]
