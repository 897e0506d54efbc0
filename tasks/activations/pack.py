"""Packs documents into rows of equal length for the `tokens` table. Knows tokenizers, not models."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
from transformers import PreTrainedTokenizerFast

from storage.errors import WrongRequest
from tasks.activations.corpus import Document

BATCH_CHARACTERS = 2**20
"""Text that is tokenised at once; fast tokenizers spread it over the cores."""


class Special(NamedTuple):
    """A token that stands for no text."""

    token: int
    string: str
    """Its own name."""


class Tokenised(NamedTuple):
    """A document as tokens, each with the text that it stands for."""

    row: int
    tokens: list[int]
    strings: list[str]
    offsets: list[int]
    """Where each string begins in the document, in characters."""


class Row(NamedTuple):
    """A packed sequence while it fills."""

    tokens: list[int]
    strings: list[str]
    documents: list[int]
    starts: list[int]
    offsets: list[int]

    @classmethod
    def opened(cls, bos: Special | None) -> "Row":
        """A row that holds its first token, where the tokenizer has one for it."""
        return cls([bos.token] if bos else [], [bos.string] if bos else [], [], [], [])

    def take(self, document: Tokenised, first: int, room: int) -> int:
        """Append the document's tokens from `first` on, as many as fit; the first that did not."""
        last = min(first + room, len(document.tokens))
        self.documents.append(document.row)
        self.starts.append(len(self.tokens))
        self.offsets.append(document.offsets[first])
        self.tokens.extend(document.tokens[first:last])
        self.strings.extend(document.strings[first:last])
        return last


def pack(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast, sequence: int, rows: int
) -> Iterator[dict[str, object]]:
    """Rows of the `tokens` table: `rows` of them, or as many as the documents fill.

    Each row begins with the beginning-of-sequence token; documents are separated by the end-of-sequence
    token, or by the first one where there is no last. A tokenizer that has neither gets neither. What is
    left after the last full row is dropped; documents that fill no row at all are refused.
    """
    bos = _special(tokenizer, tokenizer.bos_token)
    separator = _special(tokenizer, tokenizer.eos_token) or bos
    row, made = Row.opened(bos), 0
    for document in tokenised(documents, tokenizer):
        if row.documents and separator:
            row.tokens.append(separator.token)
            row.strings.append(separator.string)
        at = 0
        while at < len(document.tokens):
            # The separator may have filled the row, so there may be no room even for one token.
            room = sequence - len(row.tokens)
            at = row.take(document, at, room) if room else at
            if len(row.tokens) == sequence:
                yield {"sequence": made, **row._asdict()}
                row, made = Row.opened(bos), made + 1
            if made == rows:
                return
    if made == 0:
        msg = (
            f"the corpus holds {len(row.tokens)} tokens, less than one sequence of {sequence}: "
            "give a larger corpus or shorter sequences"
        )
        raise WrongRequest(msg)


def tokenised(documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast) -> Iterator[Tokenised]:
    """The documents as tokens, without special ones; a document that makes no token is left out."""
    for batch in _batches(documents):
        encoded = tokenizer(
            [document.text for document in batch],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        spans = cast("list[list[tuple[int, int]]]", encoded["offset_mapping"])
        tokens = cast("list[list[int]]", encoded["input_ids"])
        for document, ids, spans_of in zip(batch, tokens, spans, strict=True):
            if ids:
                cuts = boundaries(np.asarray(spans_of, dtype=np.int64), len(document.text))
                strings = [document.text[first:last] for first, last in pairwise(cuts)]
                yield Tokenised(document.row, ids, strings, cuts[:-1])


def boundaries(spans: np.ndarray, length: int) -> list[int]:
    """Where to cut a text of this length so that each token has its own piece: one cut more than tokens.

    Spans overlap where tokens share a character: the last of them gets it. Text between two spans, which
    a tokenizer dropped, goes to the later one.
    """
    cuts = np.minimum(spans[:-1, 1], spans[1:, 0])
    cuts = np.maximum.accumulate(np.concatenate([[0], cuts, [length]]))
    return np.minimum(cuts, length).tolist()


def texts(tokenizer: PreTrainedTokenizerFast, tokens: Iterable[int]) -> list[str]:
    """The text of single tokens, outside of any document; a piece of a character shows as `�`.

    Decoded after another token, because decoders strip the space before the first.
    """
    anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]
    before = len(_decoded(tokenizer, anchor))
    return [_decoded(tokenizer, [*anchor, token])[before:] for token in tokens]


def _decoded(tokenizer: PreTrainedTokenizerFast, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))


def _special(tokenizer: PreTrainedTokenizerFast, name: object) -> Special | None:
    """A special token by its name; null where the tokenizer has none."""
    if name is None:
        return None
    return Special(cast("int", tokenizer.convert_tokens_to_ids(str(name))), str(name))


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch, characters = [], 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
