"""Explanations of EleutherAI's delphi: one file per feature, `<hookpoint>_latent<index>.txt`, that holds a JSON string.

They lie in the folder `explanations` of a run of delphi; the paper's code writes `_feature<index>.txt`. A reply that
could not be read is written there as an explanation, and is none here.
"""

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from storage.errors import WrongRequest
from tasks.explainers.imported.base import Columns, Record

COLUMNS = Columns(coder="hookpoint")
ENDINGS = (".txt",)
DOTTED = True
"""The paper's code calls hookpoints `.gpt_neox.layers.3`."""

UNREAD = "Explanation could not be parsed."

_NAME = re.compile(r"(?:.*/)?(?P<hookpoint>[^/]+)_(?:latent|feature)(?P<feature>\d+)\.txt")


def records(opened: BinaryIO, file: str) -> Iterator[Record]:
    """The one explanation of a file."""
    named = _NAME.fullmatch(file)
    if named is None:
        msg = (
            f"{file} is not called as delphi calls explanations, <hookpoint>_latent<index>.txt: take it away"
        )
        raise WrongRequest(msg)
    try:
        text = json.loads(opened.read())
    except (ValueError, RecursionError) as error:
        msg = f"{file} is not JSON ({error}): delphi writes an explanation as one JSON string"
        raise WrongRequest(msg) from error
    if not isinstance(text, str):
        msg = f"{file} holds {type(text).__name__}: delphi writes an explanation as one JSON string"
        raise WrongRequest(msg)
    values = {**named.groupdict(), "text": None if text.strip() == UNREAD else text}
    yield Record(file, values)
