"""What formats and sources of documents have in common.

Lines of UTF-8, with their faults named by file and byte.
"""

import codecs
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple, Protocol

from storage.errors import WrongRequest

LONGEST = 2**26
"""Bytes of the longest document that a line or a file may be.

It is tokenised whole, which takes about 120 bytes of memory for each of its own.
"""

Unit = Literal["file", "line", "paragraph"]
"""What of a text file is one document."""


class Wanted(NamedTuple):
    """What of a corpus is read."""

    column: str
    split: str | None
    document: Unit


class Format(Protocol):
    """How files of one kind hold documents: a module of this package."""

    @property
    def ENDINGS(self) -> tuple[str, ...]:  # noqa: N802  (a constant of each module)
        """How the names of such files end, in lower case."""
        ...

    def texts(self, opened: BinaryIO, wanted: Wanted, shown: str) -> Iterator[str | None]:
        """Every row's text in order, null where there is none or the row is of another split.

        `shown` is the file as the user knows it. Raises `WrongRequest` where the contents do not fit, and lets
        what the libraries raise about broken files pass.
        """
        ...


class Source(Protocol):
    """Where the documents of a corpus come from."""

    def texts(self) -> Iterator[str | None]:
        """Every row's text in order, null where there is none or the row is of another split."""
        ...

    def digest(self) -> str:
        """A hash or a name of the contents, which changes when they do."""
        ...


COMPRESSED = ("", ".gz", ".zst")
"""What may follow the ending of a file that is read from its beginning to its end."""


def endings(*plain: str) -> tuple[str, ...]:
    """The endings, each also with those of compressed files."""
    return tuple(f"{ending}{more}" for ending in plain for more in COMPRESSED)


def lines(opened: BinaryIO, shown: str, advice: str) -> Iterator[str]:
    """The lines, each with what ends it; refuses one that is too long, with `advice`."""
    at = 0
    while line := opened.readline(LONGEST + 1):
        yield decoded(line, at, shown, advice)
        at += len(line)


def whole(opened: BinaryIO, shown: str, advice: str) -> str:
    """All that there is; refuses a file that is too long, with `advice`."""
    return decoded(opened.read(LONGEST + 1), 0, shown, advice)


def decoded(data: bytes, at: int, shown: str, advice: str) -> str:
    """The text of some bytes that stand at `at` in the file; a mark of the byte order at its beginning is no text."""
    if len(data) > LONGEST:
        msg = f"{shown} has a document of more than {LONGEST >> 20} MiB, from byte {at} on: {advice}"
        raise WrongRequest(msg)
    begin = len(codecs.BOM_UTF8) if at == 0 and data.startswith(codecs.BOM_UTF8) else 0
    try:
        return data[begin:].decode()
    except UnicodeDecodeError as error:
        unpacked = " of what it unpacks to" if shown.lower().endswith((".gz", ".zst")) else ""
        msg = f"{shown} is not UTF-8 at byte {at + begin + error.start}{unpacked}: convert it, with iconv for instance"
        raise WrongRequest(msg) from error
