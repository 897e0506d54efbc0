"""Plain text, plain or compressed: a document per file, per line, or per paragraph."""

from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO

from storage.errors import WrongRequest
from tasks.activations.corpora.base import CorpusFormat, CorpusSelection, decoded_file, decoded_lines


class Text(CorpusFormat):
    """Text files."""

    endings = (".txt",)
    streamed = True
    has_units = True

    def read_texts(self, opened: BinaryIO, selection: CorpusSelection, shown: str) -> Iterator[str | None]:
        """The file as it is, or its lines or paragraphs without the line endings after them."""
        if selection.split is not None:
            msg = f"{shown} is plain text, which has no splits: leave corpus.split out, or name the files of the split"
            raise WrongRequest(msg)
        if selection.document == "file":
            yield decoded_file(opened, shown, "set corpus.document to line or paragraph")
            return
        text_lines = decoded_lines(opened, shown, "break it into shorter lines")
        if selection.document == "line":
            for line in text_lines:
                yield line.rstrip("\r\n")
            return
        # Paragraphs are separated by blank lines.
        for blank, paragraph in groupby(text_lines, key=str.isspace):
            if not blank:
                yield "".join(paragraph).rstrip("\r\n")
