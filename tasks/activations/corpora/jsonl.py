"""JSON lines: one object per line, plain or compressed. Blank lines are no rows."""

import json
from collections.abc import Iterator
from typing import BinaryIO

from storage.errors import WrongRequest
from tasks.activations.corpora import columns
from tasks.activations.corpora.base import Wanted, endings, lines

ENDINGS = endings(".jsonl", ".ndjson", ".json")

ADVICE = "write one JSON object per line"

KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
}


def texts(opened: BinaryIO, wanted: Wanted, shown: str) -> Iterator[str | None]:
    """What stands under the column's name in each object."""
    for number, line in enumerate(lines(opened, shown, ADVICE), start=1):
        if line.strip():
            yield _text(line, wanted, f"line {number} of {shown}")


def _text(line: str, wanted: Wanted, where: str) -> str | None:
    record = _record(line, where)
    for name in columns.named(wanted):
        if name not in record:
            msg = f"{where} has no key {name}: it has {', '.join(sorted(record)) or 'none'}"
            raise WrongRequest(msg)
    text = record[wanted.column]
    if not (text is None or isinstance(text, str)):
        msg = f"key {wanted.column} in {where} is {KINDS[type(text)]}, not text: name another with corpus.column"
        raise WrongRequest(msg)
    if wanted.split is not None and record[columns.SPLIT] != wanted.split:
        return None
    if text and "\\u" in line:
        _check_whole(text, where)
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


def _check_whole(text: str, where: str) -> None:
    """Refuse half a character, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{where} has half a character (\\u{ord(text[error.start]):04x} alone): write the text again as UTF-8"
        raise WrongRequest(msg) from error
