"""Whose tokenizer a reader's tokens are counted with."""

import sys
from pathlib import Path
from typing import NamedTuple

import huggingface_hub

from flows.config import RunConfig
from storage.errors import WrongRequest
from tasks.llm.token_count import Tokenizer

_PATIENCE = 5.0
"""Seconds for the Hub to say whether it has a model."""


class Counted(NamedTuple):
    """How a reader's tokens are counted."""

    tokenizer: Tokenizer | None
    """Null for an embedded reader, which has none."""
    said: str
    """Whose tokenizer it is, as a clause."""


def counted(config: RunConfig, name: str) -> Counted:
    """The tokenizer that the config names, else that of the reader's model, else the subject's as a stand-in.

    Raises `WrongRequest` for one that the config names and that is not there.
    """
    reader = config.readers[name]
    if reader.kind != "openai":
        return Counted(None, f"{name} is embedded and counts no tokens")
    if reader.tokenizer:
        return Counted(_loaded(reader.tokenizer), f"tokens of {name}: counted by {reader.tokenizer}")
    if _there(reader.model):
        try:
            return Counted(_loaded(reader.model), f"tokens of {name}: counted by its model's own tokenizer")
        except WrongRequest:  # a slow one, or one that only its owners may read
            pass
    stand_in = f"tokens of {name}: counted by the subject's tokenizer, since {reader.model} gives none here"
    return Counted(
        _endless(config.subject.tokenizer()), f"{stand_in}; readers.{name}.tokenizer can name another"
    )


def _loaded(name: str) -> Tokenizer:
    # Local, since it loads torch.
    from tasks.activations import model  # noqa: PLC0415

    return _endless(model.load_tokenizer(name, None))


def _endless(tokenizer: Tokenizer) -> Tokenizer:
    """The same without a longest text, of which it would warn."""
    tokenizer.model_max_length = sys.maxsize
    return tokenizer


def _there(name: str) -> bool:
    """Whether a model lies in a folder, in the Hub's cache, or on a Hub that answers at once."""
    if Path(name).exists():
        return True
    try:
        if isinstance(huggingface_hub.try_to_load_from_cache(name, "tokenizer.json"), str):
            return True
        huggingface_hub.HfApi().model_info(name, timeout=_PATIENCE)
    except Exception:  # noqa: BLE001  (no name of the Hub, no network, no access: whatever it is, it is not there)
        return False
    return True
