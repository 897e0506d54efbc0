"""What formats of explanations have in common: records with a feature and a text, out of some files."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import fsspec
import pyarrow as pa

from storage.errors import RunFailed, WrongRequest
from tasks.coders import files
from tasks.fields import ConfigModel


class Columns(ConfigModel, frozen=True):
    """What the columns or keys of some explanations are called."""

    feature: str = "feature"
    """The feature's index: a number, or a number in text."""
    text: str = "text"
    """The explanation; where it is null or blank there is none."""
    coder: str | None = None
    """Which coder the feature is of; null where there is no such column."""
    model: str | None = None
    """Who wrote it; null where there is no such column."""


class Record(NamedTuple):
    """One row, and where it stands, for messages."""

    where: str
    values: Mapping[str, Any]


class Format(Protocol):
    """How files of one kind hold explanations: a module of this package."""

    @property
    def COLUMNS(self) -> Columns:  # noqa: N802  (a constant of each module)
        """What its columns are called where the config doesn't say."""
        ...

    @property
    def ENDINGS(self) -> tuple[str, ...]:  # noqa: N802  (as above)
        """How the names of its files end, in lower case."""
        ...

    @property
    def DOTTED(self) -> bool:  # noqa: N802  (as above)
        """Whether names that begin with a dot are its own."""
        ...

    def records(self, opened: BinaryIO, file: str) -> Iterator[Record]:
        """The rows of one file; `file` is its path. Raises `WrongRequest` where its contents do not fit."""
        ...


class Found(NamedTuple):
    """The files of a path."""

    system: fsspec.AbstractFileSystem
    folder: str
    paths: tuple[str, ...]

    def digest(self) -> str:
        """A hash of their names in the folder and of their contents, the same wherever it lies."""
        named = [path.removeprefix(self.folder) + files.digest_file(self.system, path) for path in self.paths]
        return hashlib.sha256("\0".join(named).encode()).hexdigest()

    def records(self, form: Format) -> Iterator[Record]:
        """The rows of all files, in the order of their names."""
        for path in self.paths:
            with _named(path), cast("BinaryIO", self.system.open(path, "rb")) as opened:
                unpacked = gzip.GzipFile(fileobj=opened) if path.lower().endswith(".gz") else opened
                yield from form.records(cast("BinaryIO", unpacked), path)


def find(path: str, form: Format) -> Found:
    """The file, or those of a folder that end as the format has it. Raises `WrongRequest` where there are none."""
    system, root = files.filesystem(path)
    try:
        single = system.isfile(root)
        names = [root] if single else sorted(str(name) for name in system.find(root))
    except Exception as error:  # a file system is anybody's code: s3fs lets botocore's errors through
        msg = f"the explanations {path} cannot be opened ({error}): check the path and the credentials"
        raise WrongRequest(msg) from error
    # A file that is named by itself may end as it likes.
    there = names if single else [name for name in names if _is_data(files.parts_below(root, name), form)]
    if not there:
        msg = f"there are no explanations at {path}: give a file, or a folder of {' or '.join(form.ENDINGS)} files"
        raise WrongRequest(msg)
    return Found(system, root.rsplit("/", 1)[0] if single else root, tuple(there))


def _is_data(parts: list[str], form: Format) -> bool:
    """Whether a file of a folder ends as the format has it, and neither it nor a folder that it lies in is hidden."""
    *folders, name = parts
    # Where a name begins with that of a module, a dot may be the module's; Finder's begin with two signs.
    hidden = name.startswith("._") if form.DOTTED else files.is_hidden(name)
    return name.lower().endswith(form.ENDINGS) and not hidden and not any(map(files.is_hidden, folders))


@contextmanager
def _named(path: str) -> Iterator[None]:
    """What goes wrong with a file, as a sentence that names it."""
    try:
        yield
    except WrongRequest:
        raise
    except (ConnectionError, TimeoutError) as error:
        msg = f"the connection to the explanations {path} broke off ({_reason(error)}): run the same command again"
        raise RunFailed(msg) from error
    except (pa.ArrowException, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        msg = f"the explanations {path} cannot be read ({_reason(error)}): make the file again"
        raise WrongRequest(msg) from error


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
