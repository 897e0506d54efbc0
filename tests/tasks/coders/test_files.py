"""Files are found, fetched and hashed alike in a folder, behind a URL and in the Hub's cache."""

import socket
from collections.abc import Iterator
from pathlib import Path

import fsspec
import huggingface_hub.constants
import pytest
from huggingface_hub import errors

from storage.errors import WrongRequest
from tasks.coders import files

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    (tmp_path / "cfg.json").write_text("{}")
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """The same two files behind a URL."""
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/coder", recursive=True)
    yield "memory://bucket/coder"
    memory.rm("/bucket", recursive=True)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same two files in the Hub's cache, with the Hub out of reach."""
    root = tmp_path / "hub/models--owner--name"
    snapshot = root / "snapshots" / COMMIT / "layers.2"
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(COMMIT)
    (snapshot / "cfg.json").write_text("{}")
    (snapshot / "w.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return "owner/name/layers.2"


def test_a_local_folder_is_used_as_it_is(folder: Path) -> None:
    """Nothing is copied of a local folder."""
    with files.local_files(str(folder), ["cfg.json"]) as local:
        assert folder == local


def test_a_url_is_copied_and_the_copy_removed(url: str) -> None:
    """Files behind a URL are local while they are needed and no longer."""
    with files.local_files(url, ["cfg.json", "w.safetensors"]) as local:
        assert b"weights" == (local / "w.safetensors").read_bytes()
    assert not local.exists()


def test_a_hub_name_is_found_in_the_cache(cached: str) -> None:
    """A Hub name that was fetched before works without the Hub."""
    with files.local_files(cached, ["cfg.json", "w.safetensors"]) as local:
        assert b"weights" == (local / "w.safetensors").read_bytes()


def test_digest_is_of_contents(folder: Path, url: str) -> None:
    """The same contents have the same digest wherever they lie; other contents another."""
    wanted = ["cfg.json", "w.safetensors"]
    local = files.digest_files(str(folder), wanted)

    assert local == files.digest_files(url, wanted)
    (folder / "w.safetensors").write_bytes(b"Weights")
    assert local != files.digest_files(str(folder), wanted)


def test_digest_tells_which_file_holds_what(folder: Path) -> None:
    """Two files that change their contents with each other change the digest."""
    before = files.digest_files(str(folder), ["cfg.json", "w.safetensors"])
    (folder / "cfg.json").write_bytes(b"weights")
    (folder / "w.safetensors").write_bytes(b"{}")

    assert before != files.digest_files(str(folder), ["cfg.json", "w.safetensors"])


def test_large_files_are_sampled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large file the ends and evenly spaced samples count."""
    monkeypatch.setattr(files, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(files, "SAMPLE_BYTES", 4)
    large = bytearray(10_000)
    digests = set()
    for place in (None, 0, 9_999, 5_000):
        changed = bytearray(large)
        if place is not None:
            changed[place] = 1
        (folder / "w.safetensors").write_bytes(changed)
        digests.add(files.digest_files(str(folder), ["w.safetensors"]))

    assert 3 == len(digests)  # no sample lies at 5,000


def test_digest_of_a_hub_name_is_its_commit(cached: str) -> None:
    """A branch of a Hub repository is hashed as the commit that it stands for."""
    assert f"{cached}@{COMMIT}" == files.digest_files(cached, ["cfg.json"])
    assert f"{cached}@{'f' * 40}" == files.digest_files(cached, ["cfg.json"], "f" * 40)
    assert "owner/other@v2" == files.digest_files("owner/other", ["cfg.json"], "v2")


def test_has(folder: Path, url: str, cached: str) -> None:
    """Whether a file is there can be asked of every kind of place."""
    assert files.has_file(str(folder), "cfg.json")
    assert not files.has_file(str(folder), "other.json")
    assert files.has_file(url, "cfg.json")
    assert not files.has_file("memory://bucket/none", "cfg.json")
    assert files.has_file(cached, "cfg.json")


def test_exists(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file and a folder are there, of every kind of place; so is what nobody can look at."""
    for place in (str(folder), url):
        assert [True, True, False] == [
            files.path_exists(path) for path in (place, f"{place}/cfg.json", f"{place}/none")
        ]

    def refuse(_: object, path: str) -> bool:
        raise PermissionError(path)

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "exists", refuse)
    assert files.path_exists("memory://bucket/none")


def test_a_file_holds_no_names(folder: Path, url: str) -> None:
    """What lies in a folder is listed; a file, which file systems list as itself, holds nothing."""
    assert ["cfg.json", "w.safetensors"] == files.list_names(str(folder)) == files.list_names(url)
    assert [] == files.list_names(f"{folder}/cfg.json")
    assert [] == files.list_names(f"{url}/cfg.json")


@pytest.mark.parametrize(
    ("path", "revision", "message"),
    [
        ("./nowhere", None, "not there, is empty or is a file: looked for cfg.json"),
        ("memory://bucket/none", None, "not there, is empty or is a file"),
        ("nothing://bucket", None, "cannot be opened"),
        ("owner/other", None, "no local folder owner/other.*Hub cannot be reached"),
        ("memory://bucket/coder", "v2", "has no revisions"),
    ],
)
@pytest.mark.usefixtures("cached")
def test_what_is_not_there_is_refused(path: str, revision: str | None, message: str) -> None:
    """A path that leads nowhere is refused with what was looked for and where."""
    with pytest.raises(WrongRequest, match=message), files.local_files(path, ["cfg.json"], revision):
        pass


def test_a_path_that_goes_on_from_a_local_folder_is_local(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked for `coders/layer/none` if `coders/layer` is a folder, whatever repositories there are."""
    (folder / "coders/layer").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("the Hub was asked"))

    assert files.hub_folder("owner/name/none", None) is not None
    with pytest.raises(WrongRequest, match="coders/layer/none is not there"):
        files.digest_files("coders/layer/none", ["cfg.json"])


@pytest.mark.parametrize(("proxy", "asked"), [(None, False), ("http://localhost:1", True)])
def test_without_a_network_only_the_cache_is_asked(
    monkeypatch: pytest.MonkeyPatch, proxy: str | None, *, asked: bool
) -> None:
    """Where the Hub's name cannot be resolved it is not tried for half a minute, unless a proxy is to resolve it."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)

    def unresolved(*_: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    files._resolves.cache_clear()
    try:
        assert asked == files.hub_reachable()
    finally:
        files._resolves.cache_clear()


def test_a_hub_repository_without_the_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's answer that a repository lacks the file becomes a refusal that names it."""

    def download(*_: object, **__: object) -> str:
        message = "404"
        raise errors.EntryNotFoundError(message)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with (
        pytest.raises(WrongRequest, match=r"owner/name has no cfg\.json"),
        files.local_files("owner/name", ["cfg.json"]),
    ):
        pass


def test_hidden_files_are_not_listed(folder: Path, url: str) -> None:
    """What Finder and notebooks leave is no part of a checkpoint; a file that is asked for by its name is there."""
    before = files.list_names(str(folder)), files.list_names(url)
    for name in ("._a.json", ".DS_Store", "_note.json"):
        (folder / name).write_text("x")
    assert before == (files.list_names(str(folder)), files.list_names(url))
    assert files.has_file(str(folder), "_note.json")
    files.require_files(str(folder), ["_note.json"])


def test_other_files_are_named(folder: Path) -> None:
    """Where the wanted file is missing, those that are there are named."""
    with pytest.raises(WrongRequest, match=r"has no sae\.safetensors: it holds cfg\.json, w"):
        files.digest_files(str(folder), ["cfg.json", "sae.safetensors"])


def test_long_lists_are_shortened() -> None:
    """Of many names the first few are shown, with the number of the others."""
    assert "a, b and 2 more" == files.shortened(["a", "b", "c", "d"], 2)
