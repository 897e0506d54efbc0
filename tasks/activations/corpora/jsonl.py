"""JSON lines: one object per line, plain or compressed. Blank lines are no rows."""

import json
from collections.abc import Iterator
from typing import BinaryIO

from storage.errors import WrongRequest
from tasks.activations.corpora.base import (
    SPLIT_COLUMN,
    CorpusFormat,
    CorpusSelection,
    decoded_lines,
    selected_columns,
)

ADVICE = "write one JSON object per line"

KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


class JSONLines(CorpusFormat):
    """A key of strings in JSON lines."""

    endings = (".jsonl", ".ndjson", ".json")
    streamed = True

    def read_texts(self, opened: BinaryIO, selection: CorpusSelection, shown: str) -> Iterator[str | None]:
        """The string under the column's name in each object."""
        for number, line in enumerate(decoded_lines(opened, shown, ADVICE), start=1):
            if line.strip():
                yield _text(line, selection, f"line {number} of {shown}")


def _text(line: str, selection: CorpusSelection, where: str) -> str | None:
    record = _record(line, where)
    for name in selected_columns(selection):
        if name not in record:
            msg = f"{where} has no key {name}: it has {', '.join(sorted(record)) or 'none'}"
            raise WrongRequest(msg)
    text = record[selection.column]
    if not (text is None or isinstance(text, str)):
        msg = f"key {selection.column} in {where} is {KINDS[type(text)]}, not text: name another with corpus.column"
        raise WrongRequest(msg)
    if selection.split is not None and record[SPLIT_COLUMN] != selection.split:
        return None
    if text and "\\u" in line:
        _refuse_lone_surrogate(text, where)
    return text


def _record(line: str, where: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not JSON ({error}): correct it, and {ADVICE}"
        raise WrongRequest(msg) from error
    if not isinstance(record, dict):
        msg = f"{where} is {KINDS.get(type(record), 'null')}, not an object: {ADVICE}"
        raise WrongRequest(msg)
    return record


def _refuse_lone_surrogate(text: str, where: str) -> None:
    """Refuse a lone surrogate, which JSON can escape and UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{where} has half a character (\\u{ord(text[error.start]):04x} alone): write the text again as UTF-8"
        raise WrongRequest(msg) from error
