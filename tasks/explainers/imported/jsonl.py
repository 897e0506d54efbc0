"""Explanations as JSON lines: one object per line, plain or gzipped. Blank lines are no rows."""

import json
from collections.abc import Iterator
from typing import BinaryIO

from storage.errors import WrongRequest
from tasks.explainers.imported.base import Columns, Record

COLUMNS = Columns()
ENDINGS = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
DOTTED = False


def records(opened: BinaryIO, file: str) -> Iterator[Record]:
    """The object of each line."""
    for number, line in enumerate(opened, start=1):
        if line.strip():
            yield record(_value(line, f"line {number} of {file}"), f"line {number} of {file}")


def record(value: object, where: str) -> Record:
    """A row from a JSON value. Raises `WrongRequest` where it is no object."""
    if not isinstance(value, dict):
        msg = f"{where} is {type(value).__name__}, not an object: write one JSON object per explanation"
        raise WrongRequest(msg)
    return Record(where, value)


def _value(line: bytes, where: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not JSON ({error}): write one JSON object per line"
        raise WrongRequest(msg) from error
