"""The files of a checkpoint (local folder, URL of fsspec, Hub repository): located, fetched, hashed, JSON configs read.

Knows names, bytes and JSON, nothing of tensors or of any one format. Loads no torch: computing a fingerprint must not
load a model.
"""

import hashlib
import json
import posixpath
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import BinaryIO, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import fsspec
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub import errors as hub_errors
from pydantic import BaseModel, ValidationError

from storage.errors import WrongRequest


def split_file(path: str, endings: tuple[str, ...]) -> tuple[str, str | None]:
    """The folder and the file that `path` names; null for the file where `path` is the folder itself.

    A file is recognised by its ending: `coders/layer3.sae.pt` is the file `layer3.sae.pt` in `coders`.
    """
    folder, name = posixpath.split(path.rstrip("/"))
    return (folder or ".", name) if name.endswith(endings) else (path, None)


Parsed = TypeVar("Parsed", bound=BaseModel)


def read_json_object(file: Path, shown: str) -> dict[str, object]:
    """The JSON object in a file; `shown` is the file as the user knows it. A byte order mark is skipped."""
    try:
        config = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        msg = f"{shown} is not JSON ({error}): fetch the checkpoint again"
        raise WrongRequest(msg) from error
    if not isinstance(config, dict):
        msg = f"{shown} holds no JSON object: fetch the checkpoint again"
        raise WrongRequest(msg)
    return config


def validate_config(config: dict[str, object], model: type[Parsed], shown: str) -> Parsed:
    """The config as the pydantic model; `WrongRequest` names the first field that is missing or wrong."""
    try:
        return model.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{shown} is not a config of this format: {where}: {first['msg']}"
        raise WrongRequest(msg) from error


PICKLED = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
"""Endings of pickles, which can run code when they are read. Where a format has nothing else,
`tensors.load_torch_file` reads its tensors and refuses all else in it."""

WHOLE_BYTES = 64 * 2**20
"""Files up to this size are hashed whole; of larger ones, evenly spaced samples."""

_RESOLVED_FOR = 60
"""Seconds for which a DNS lookup of the Hub is kept."""

SAMPLES = 64
SAMPLE_BYTES = 2**18

_HUB_NAME = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(/(?P<folder>.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubFolder(NamedTuple):
    """A folder of a repository on the Hugging Face Hub."""

    repo: str
    folder: str
    """Empty for the repository's root."""
    revision: str | None

    def file(self, name: str) -> Path | None:
        """The file's path in the Hub's cache, fetched if necessary; null when there is no such file."""
        try:
            path = huggingface_hub.hf_hub_download(
                self.repo,
                f"{self.folder}/{name}" if self.folder else name,
                revision=self.revision,
                local_files_only=not hub_reachable(),
            )
        except hub_errors.LocalEntryNotFoundError as error:
            # A subclass of EntryNotFoundError that means that the Hub was not asked.
            msg = (
                f"there is no local folder {self.shown} and no such repository in the Hub's cache, "
                "and the Hub cannot be reached: correct the path, or fetch the repository first"
            )
            raise WrongRequest(msg) from error
        except hub_errors.EntryNotFoundError:
            return None
        except (hub_errors.HfHubHTTPError, hub_errors.HFValidationError, OSError) as error:
            reason = str(error).strip().split("\n")[0]
            msg = (
                f"there is no local folder {self.shown}, and the Hub does not give it ({reason}): "
                "correct the path or the revision, or log in with `hf auth login`"
            )
            raise WrongRequest(msg) from error
        return Path(path)

    def commit(self, name: str) -> str:
        """The commit that `revision` stands for, or the revision itself when it cannot be determined.

        The file `name` is fetched for it: asking only the cache would change the answer, and so
        every fingerprint, between a first run and its continuation.
        """
        if self.revision and _COMMIT.fullmatch(self.revision):
            return self.revision
        try:
            path = self.file(name)
        except WrongRequest:
            path = None
        named = [part for part in path.parts if _COMMIT.fullmatch(part)] if path else []
        return named[-1] if named else str(self.revision)

    @property
    def shown(self) -> str:
        """The folder as a user writes it."""
        return "/".join(part for part in (self.repo, self.folder) if part)


def hub_reachable() -> bool:
    """Whether it is worth asking the Hub for a file, and not only its cache.

    Without a network every lookup would be retried for half a minute. With a proxy nothing is resolved here: the proxy
    resolves the Hub's name.
    """
    host = urlsplit(constants.ENDPOINT).hostname or ""
    return bool({"https", "http", "all"} & getproxies().keys()) or _resolves(
        host, int(monotonic() / _RESOLVED_FOR)
    )


@lru_cache(maxsize=2)
def _resolves(host: str, period: int) -> bool:  # noqa: ARG001  (the cache entry expires with the period)
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def hub_folder(path: str, revision: str | None) -> HubFolder | None:
    """The Hub folder that `path` names, or null when it is a local folder or a URL.

    A path below a local folder is local, whether or not it exists.
    """
    name = _HUB_NAME.fullmatch(path)
    inside = bool(name and name["folder"] and Path(name["repo"]).exists())
    if "://" not in path and name is not None and not inside and not Path(path).exists():
        return HubFolder(name["repo"], name["folder"] or "", revision)
    if revision is not None:
        msg = f"{path} has no revisions: leave revision {revision} out, or name a Hub repository"
        raise WrongRequest(msg)
    return None


def filesystem(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a local path or URL, and the path in it."""
    try:
        return fsspec.core.url_to_fs(path)
    except Exception as error:  # a file system in an archive reads its beginning, whatever that is
        reason = (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
        msg = f"{path} cannot be opened ({reason}): give a local path or a URL such as s3://bucket/folder"
        raise WrongRequest(msg) from error


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is ignored in folders, such as those of notebooks, Finder and Spark.

    `datasets`, Spark, Hive and pyarrow do the same. A file named by itself is read, whatever it is called.
    """
    return name.startswith((".", "_"))


def parts_below(root: str, name: str) -> list[str]:
    """The parts of the path from `root` to `name`, which the file system listed there."""
    above = root.strip("/").split("/") if root.strip("/") else []
    return name.strip("/").split("/")[len(above) :]


def list_names(path: str) -> list[str]:
    """Names of the files and folders that lie directly in a local folder or URL; none if it is not there.

    Hidden ones are left out.
    """
    return [name for name in _list_all(path) if not is_hidden(name)]


def _list_all(path: str) -> list[str]:
    """As `list_names`, with hidden ones."""
    system, root = filesystem(path)
    try:
        paths = system.ls(root, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except Exception as error:  # any file system may raise anything: s3fs lets botocore's errors through
        msg = f"{path} cannot be listed ({error}): check the path and the credentials"
        raise WrongRequest(msg) from error
    # A file lists itself.
    return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in paths if str(name) != root)


def path_exists(path: str) -> bool:
    """Whether a local path or URL leads to a file or a folder; true where that cannot be determined."""
    system, root = filesystem(path)
    try:
        return system.exists(root)
    except Exception:  # noqa: BLE001  (as in `list_names`, which reports it)
        return True


def has_file(path: str, name: str, revision: str | None = None) -> bool:
    """Whether the folder has the file."""
    remote = hub_folder(path, revision)
    return remote.file(name) is not None if remote else name in _list_all(path)


@contextmanager
def local_files(path: str, wanted: Sequence[str], revision: str | None = None) -> Iterator[Path]:
    """A local folder with the wanted files: the folder itself, or a copy that ends with the context."""
    remote = hub_folder(path, revision)
    if remote:
        yield _from_hub(remote, wanted)
        return
    require_files(path, wanted)
    system, root = filesystem(path)
    if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
        yield Path(root)
        return
    with TemporaryDirectory(prefix="gloss-") as folder:
        for name in wanted:
            system.get_file(f"{root}/{name}", str(Path(folder) / name))
        yield Path(folder)


def digest_files(path: str, wanted: Sequence[str], revision: str | None = None) -> str:
    """A hash of the files' contents, whatever folder holds them; of a Hub repository, its commit.

    The first of `wanted` should be small: on the Hub it is fetched to learn the commit.
    """
    remote = hub_folder(path, revision)
    if remote:
        return f"{remote.shown}@{remote.commit(wanted[0])}"
    require_files(path, wanted)
    system, root = filesystem(path)
    total = hashlib.sha256()
    for name in sorted(wanted):
        total.update(f"{name}\0{digest_file(system, f'{root}/{name}')}\0".encode())
    return total.hexdigest()


def digest_file(system: fsspec.AbstractFileSystem, file: str) -> str:
    """A hash of one file: of all of it, or of its size and samples when it is large."""
    size = int(system.info(file)["size"])
    total = hashlib.sha256(str(size).encode())
    if size <= WHOLE_BYTES:
        # In one request, since some servers cannot give a part of a file.
        total.update(cast("bytes", system.cat_file(file)))
        return total.hexdigest()
    # The cache of a buffered remote file reads ahead megabytes that the samples do not need.
    with cast("BinaryIO", system.open(file, "rb", cache_type="none")) as opened:
        for sample in range(SAMPLES):
            opened.seek(sample * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            total.update(opened.read(SAMPLE_BYTES))
    return total.hexdigest()


def _from_hub(remote: HubFolder, wanted: Sequence[str]) -> Path:
    fetched = {name: remote.file(name) for name in wanted}
    missing = [name for name, file in fetched.items() if file is None]
    if missing:
        msg = (
            f"the Hub's {remote.shown} has no {' and no '.join(missing)}: name the subfolder that has"
            f"{'' if missing[-1].endswith(PICKLED) else ', or convert a pickled checkpoint to safetensors first'}"
        )
        raise WrongRequest(msg)
    folders = {file.parent for file in fetched.values() if file is not None}
    if len(folders) != 1:
        msg = f"the Hub's {remote.shown} changed while it was fetched: name a commit as its revision"
        raise WrongRequest(msg)
    return folders.pop()


def require_files(path: str, wanted: Sequence[str]) -> None:
    """Refuse a local folder or URL that lacks one of the files, and name those that it has."""
    there = _list_all(path)
    missing = [name for name in wanted if name not in there]
    if not missing:
        return
    there = [name for name in there if not is_hidden(name)]
    pickled = [name for name in there if name.endswith(PICKLED)]
    if pickled and not any(name.endswith(PICKLED) for name in missing):
        msg = (
            f"{path} has {pickled[0]}, a pickle, which can run code when it is read: convert it with "
            f"safetensors.torch.save_file(torch.load(..., weights_only=True), ...) to {missing[-1]}"
        )
    elif there:
        msg = f"{path} has no {' and no '.join(missing)}: it holds {shortened(there)}"
    else:
        msg = f"{path} is not there, is empty or is a file: looked for {', '.join(wanted)} in it"
    raise WrongRequest(msg)


def shortened(names: Sequence[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def peek_json(path: str, name: str, revision: str | None) -> dict[str, object]:
    """The JSON object in a folder's file; empty where there is no such file, or no such object in it.

    Empty also where the Hub cannot be asked: a cache may hold the checkpoint, and nothing about a file that the
    repository never had. Raises `WrongRequest` for other places that cannot be listed.
    """
    try:
        there = has_file(path, name, revision)
    except WrongRequest:
        if hub_folder(path, revision) is None:
            raise
        return {}
    if not there:
        return {}
    with local_files(path, (name,), revision) as folder:
        try:
            return read_json_object(folder / name, f"{path}/{name}")
        except (WrongRequest, OSError):
            return {}
