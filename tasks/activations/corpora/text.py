"""Plain text, plain or compressed: a document per file, per line, or per paragraph."""

from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO

from storage.errors import WrongRequest
from tasks.activations.corpora.base import Wanted, endings, lines, whole

ENDINGS = endings(".txt")


def texts(opened: BinaryIO, wanted: Wanted, shown: str) -> Iterator[str | None]:
    """The file as it is, or its lines or paragraphs without the ends of lines after them."""
    if wanted.split is not None:
        msg = f"{shown} is plain text, which has no splits: leave corpus.split out, or name the files of the split"
        raise WrongRequest(msg)
    if wanted.document == "file":
        yield whole(opened, shown, "set corpus.document to line or paragraph")
        return
    found = lines(opened, shown, "break it into shorter lines")
    if wanted.document == "line":
        for line in found:
            yield line.rstrip("\r\n")
        return
    # Paragraphs are what blank lines part.
    for blank, paragraph in groupby(found, key=str.isspace):
        if not blank:
            yield "".join(paragraph).rstrip("\r\n")
