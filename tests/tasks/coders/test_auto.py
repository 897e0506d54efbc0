"""The format is found by the files: one fits, none does, or several do; what is found is what would be named."""

import pickle
from pathlib import Path
from typing import ClassVar, Literal, Self

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from storage.errors import WrongRequest
from tasks.coders import auto, files
from tasks.coders.activation_functions import TopK
from tasks.coders.auto import Auto
from tasks.coders.base import Checkpoint, DeclaredSite, HookSite
from tasks.coders.baselines import Neurons
from tasks.coders.sparse_coder import SparseCoder


class Toy(Checkpoint, frozen=True):
    """A format that is told by one file."""

    detected_by: ClassVar[str] = "toy.json"

    kind: Literal["toy"] = "toy"
    layer: int = 7

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        return cls(path=path, revision=revision) if files.has_file(path, cls.detected_by, revision) else None

    def declared_site(self) -> DeclaredSite | None:
        return DeclaredSite(f"layers.{self.layer}")

    def digest(self, site: str | None) -> str:
        return f"{files.digest_files(self.path, (self.detected_by,), self.revision)} {site}"

    def load(self, site: str | None, place: HookSite) -> SparseCoder:
        eye, zero = torch.eye(place.d), torch.zeros(place.d)
        return SparseCoder(eye, zero, zero, eye, zero, TopK(1), target=site)


class Other(Toy, frozen=True):
    """Another one."""

    detected_by: ClassVar[str] = "other.json"

    kind: Literal["other"] = "other"  # pyright: ignore[reportIncompatibleVariableOverride]


@pytest.fixture(autouse=True)
def two_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """gloss knows the two, and a source without files."""
    monkeypatch.setattr(auto, "Format", Toy | Neurons | Other)


def test_formats_are_those_of_the_union() -> None:
    """A format that a config can name is looked for; what has no files is not, nor is this one itself."""
    assert [Toy, Other] == auto.checkpoint_formats()


@pytest.mark.parametrize("format_", [Toy, Other])
def test_the_format_that_fits_is_taken(tmp_path: Path, format_: type[Toy]) -> None:
    """Digest, site and weights are those of the format, as if its kind were named."""
    (tmp_path / format_.detected_by).touch()
    named, result = format_(path=str(tmp_path)), Auto(path=str(tmp_path))
    place = HookSite("layers.2", 4)

    assert named == result.source
    assert named.digest("layers.2") == result.digest("layers.2")
    assert named.declared_site() == result.declared_site()
    assert "layers.2" == result.load("layers.2", place).target
    assert torch.equal(named.load(None, place).encoder, result.load(None, place).encoder)


def test_what_was_found_is_no_part_of_the_config(tmp_path: Path) -> None:
    """The config stays the same config after the files were looked at: equal, hashed, dumped and pickled alike."""
    (tmp_path / "toy.json").touch()
    fresh, used = Auto(path=str(tmp_path)), Auto(path=str(tmp_path))
    used.digest(None)

    assert fresh == used
    assert hash(fresh) == hash(used)
    assert {"kind": "auto", "path": str(tmp_path), "revision": None} == used.model_dump()
    assert used == pickle.loads(pickle.dumps(used))


def test_none_fits(tmp_path: Path) -> None:
    """Where nothing fits it says what is there and what each format would have been told by."""
    (tmp_path / "something.else").touch()

    with pytest.raises(
        WrongRequest, match=r"holds something\.else; looked for toy: toy\.json; other: other\.json"
    ):
        Auto(path=str(tmp_path)).declared_site()


def test_nothing_is_there(tmp_path: Path) -> None:
    """A path that leads nowhere is said to lead nowhere, and no format is told of; an empty folder is there."""
    nowhere = f"there is no file or folder {tmp_path}/nowhere, and no repository of the Hub has such a name"
    with pytest.raises(WrongRequest) as refused:
        Auto(path=f"{tmp_path}/nowhere").digest(None)
    assert f"{nowhere} (owner/name): correct the coder's source.path" == str(refused.value)
    with pytest.raises(WrongRequest, match="no file or folder memory://none: correct"):
        Auto(path="memory://none").digest(None)
    with pytest.raises(WrongRequest, match="it is empty, or a file of no known name; looked for toy"):
        Auto(path=str(tmp_path)).digest(None)


def test_several_fit(tmp_path: Path) -> None:
    """Where two fit neither is guessed."""
    for format_ in (Toy, Other):
        (tmp_path / format_.detected_by).touch()

    with pytest.raises(WrongRequest, match="fits toy and other: name one of them"):
        Auto(path=str(tmp_path)).load(None, HookSite("layers.2", 4))


def test_a_cached_repository_is_told_without_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the Hub nobody knows which files a repository lacks; one that is in the cache still tells."""

    def cached(_: str, name: str, **__: object) -> str:
        if name == "other.json":
            return str(tmp_path / name)
        message = "offline"
        raise errors.LocalEntryNotFoundError(message)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", cached)

    assert Other(path="owner/name") == Auto(path="owner/name").source


def test_the_hub_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the Hub cannot be asked is what is said, not that nothing fits."""

    def cached(*_: object, **__: object) -> str:
        message = "offline"
        raise errors.LocalEntryNotFoundError(message)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", cached)

    with pytest.raises(WrongRequest, match="the Hub cannot be reached"):
        Auto(path="owner/name").digest(None)


def test_a_repository_where_none_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Hub repository holds instead is named, at the revision that was asked for; unless it cannot be asked."""

    def download(*_: object, **__: object) -> str:
        message = "404"
        raise errors.EntryNotFoundError(message)

    def listed(path: str) -> list[str]:
        assert "hf://owner/name@v2/folder" == path
        return ["README.md"]

    def refused(path: str) -> list[str]:
        raise WrongRequest(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(files, "list_names", listed)
    with pytest.raises(WrongRequest, match=r"owner/name/folder: it holds README\.md"):
        Auto(path="owner/name/folder", revision="v2").digest(None)
    monkeypatch.setattr(files, "list_names", refused)
    with pytest.raises(WrongRequest, match=r"no coder .* is in owner/name: looked for toy"):
        Auto(path="owner/name").digest(None)
