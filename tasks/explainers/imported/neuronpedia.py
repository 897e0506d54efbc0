"""Explanations of Neuronpedia: what its export of explanations gives, and the batches of its public data set.

The export (`/api/explanation/export`) is one JSON list of objects, a batch (`explanations/batch-0.jsonl.gz`) one object
per line; both have the keys `index`, `description`, `layer` (Neuronpedia's name of the coder, such as 9-res-jb),
`explanationModelName` and `typeName`. A feature may have explanations of several models and types.
"""

import json
from collections.abc import Iterator
from typing import BinaryIO

from storage.errors import WrongRequest
from tasks.explainers.imported import jsonl
from tasks.explainers.imported.base import Columns, Record

COLUMNS = Columns(feature="index", text="description", coder="layer", model="explanationModelName")
ENDINGS = (".json", *jsonl.ENDINGS)
DOTTED = False


def records(opened: BinaryIO, file: str) -> Iterator[Record]:
    """The objects of a list, or of each line."""
    if file.lower().endswith(".json"):
        yield from _listed(opened, file)
    else:
        yield from jsonl.records(opened, file)


def _listed(opened: BinaryIO, file: str) -> Iterator[Record]:
    try:
        names = json.load(opened)
    except (ValueError, RecursionError) as error:
        msg = f"{file} is not JSON ({error}): download the export again"
        raise WrongRequest(msg) from error
    if not isinstance(names, list):
        msg = (
            f"{file} holds {type(names).__name__}, not a list of explanations: give an export of Neuronpedia"
        )
        raise WrongRequest(msg)
    for number, value in enumerate(names):
        yield jsonl.record(value, f"item {number} of {file}")
