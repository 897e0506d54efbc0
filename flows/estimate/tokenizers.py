"""The tokenizer that a reader's tokens are counted with."""

import sys
from pathlib import Path
from typing import NamedTuple

import huggingface_hub

from flows.config import RunConfig
from storage.errors import WrongRequest
from tasks.llm.in_process.reader import TransformersReader
from tasks.llm.token_count import Tokenizer
from tasks.model_files import package
from tasks.model_files.causal_model import CausalModelFiles

_PATIENCE = 5.0
"""Timeout in seconds of the question whether the Hub has a model."""


class ReaderTokenizer(NamedTuple):
    """A reader's tokenizer and its source."""

    tokenizer: Tokenizer | None
    """Null for a reader that is no language model."""
    source: str
    """Which tokenizer it is, as a clause."""


def reader_tokenizer(config: RunConfig, name: str) -> ReaderTokenizer:
    """The tokenizer that the config names, else that of the reader's model, else the subject's as a stand-in.

    Raises `WrongRequest` for one that the config names and that is not there.
    """
    reader = config.readers[name]
    if isinstance(reader, TransformersReader):
        tokenizer = _endless(reader.files.tokenizer())
        if reader.chat == "plain":
            tokenizer.chat_template = None
        return ReaderTokenizer(tokenizer, f"tokens of {name}: counted by its model's own tokenizer")
    if reader.kind != "openai":
        return ReaderTokenizer(None, f"{name} is no language model and counts no tokens")
    if reader.tokenizer:
        named = CausalModelFiles(reader.tokenizer, key=f"readers.{name}.tokenizer")
        return ReaderTokenizer(
            _endless(named.tokenizer()), f"tokens of {name}: counted by {reader.tokenizer}"
        )
    if _there(reader.model):
        own = CausalModelFiles(reader.model, key=f"readers.{name}.model")
        try:
            return ReaderTokenizer(
                _endless(own.tokenizer()), f"tokens of {name}: counted by its model's own tokenizer"
            )
        except WrongRequest:  # a slow one, or one that only its owners may read
            pass
    stand_in = f"tokens of {name}: counted by the subject's tokenizer, since {reader.model} gives none here"
    return ReaderTokenizer(
        _endless(config.subject.tokenizer()), f"{stand_in}; readers.{name}.tokenizer can name another"
    )


def _endless(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer without a maximum length, about which it would warn."""
    tokenizer.model_max_length = sys.maxsize
    return tokenizer


def _there(name: str) -> bool:
    """Whether a model is in a folder, in the Hub's cache, or on a Hub that replies within the timeout."""
    if Path(name).exists() or package.is_package(name):
        return True
    try:
        if isinstance(huggingface_hub.try_to_load_from_cache(name, "tokenizer.json"), str):
            return True
        huggingface_hub.HfApi().model_info(name, timeout=_PATIENCE)
    except Exception:  # noqa: BLE001  (no name of the Hub, no network, no access: whatever it is, it is not there)
        return False
    return True
