"""Documents as tokens, each with the text that it stands for. Knows tokenizers, not rows.

Which text a token stands for follows from the bytes that its name in the vocabulary spells, where these are all that
a tokenizer reads: the names then spell the document again, which is checked. Where they do not, as with tokenizers
that normalise what they read, the tokenizer is asked for offsets, which costs half as much again.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple, cast

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from tasks.activations.corpus import Document

BATCH_CHARACTERS = 2**20
"""Text that is tokenised at once; fast tokenizers spread it over the cores."""


class TokenisedDocument(NamedTuple):
    """A document as tokens, each with the text that it stands for."""

    row: int
    tokens: np.ndarray
    """int32, one per token."""
    offsets: np.ndarray
    """Where each token's text begins in the document, in characters."""
    cuts: np.ndarray
    """Where it begins in `text`, in bytes, and where the last one ends: one more than tokens."""
    text: memoryview
    """UTF-8 of this document, and of those beside it."""

    @property
    def strings(self) -> list[str]:
        """The text of each token."""
        ends = self.cuts[1:]
        return [str(self.text[a:b], "utf-8") for a, b in zip(self.cuts[:-1], ends, strict=True)]


class Spelling(NamedTuple):
    """The bytes that each token of a vocabulary spells."""

    names: list[bytes]
    sizes: np.ndarray
    """How many, per token."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> "Spelling":
        """As GPT-2 spells them, a character for each byte, or as SentencePiece does, with `▁` and `<0x0A>`."""
        added = {token: str(name).encode() for token, name in tokenizer.added_tokens_decoder.items()}
        vocabulary = tokenizer.get_vocab()
        spelt = _gpt2 if vocabulary.keys() >= set(ByteLevel.alphabet()) else _sentencepiece
        names = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for name, token in vocabulary.items():
            names[token] = added.get(token) or spelt(name)
        return cls(names, np.array([len(name) for name in names], np.int64))


def tokenise_documents(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast
) -> Iterator[TokenisedDocument]:
    """The documents as tokens, without special ones; a document that makes no token is left out."""
    spelling: Spelling | None = Spelling.of(tokenizer)
    for batch in _batches(documents):
        tokenised = _by_spelling(batch, tokenizer, spelling) if spelling else None
        if tokenised is None:
            # What does not fit once won't fit again, and would be tokenised twice each time.
            spelling, tokenised = None, _by_offsets(batch, tokenizer)
        yield from tokenised


def _by_spelling(
    batch: list[Document], tokenizer: PreTrainedTokenizerFast, spelling: Spelling
) -> list[TokenisedDocument] | None:
    """The documents as tokens, or null where these do not spell them."""
    backend = tokenizer.backend_tokenizer
    # A tokenizer's file can ask for either; transformers leaves both out as well.
    backend.no_truncation()
    backend.no_padding()
    encoded = backend.encode_batch_fast([document.text for document in batch], add_special_tokens=False)
    joined = _Batch.of(batch, [encoding.ids for encoding in encoded])
    ends = np.concatenate([[0], np.cumsum(spelling.sizes[joined.tokens])])
    sizes = [len(document.text.encode()) for document in joined.documents]
    if not np.array_equal(ends[joined.firsts], np.cumsum([0, *sizes])):
        return None
    if b"".join(map(spelling.names.__getitem__, joined.tokens.tolist())) != joined.data:
        return None
    # The character that each byte is of; one that several tokens share is the last one's.
    characters = np.cumsum(_begins_character(joined.data)) - 1
    return list(joined.cut(np.append(characters, joined.begins[-1])[ends]))


def _by_offsets(batch: list[Document], tokenizer: PreTrainedTokenizerFast) -> list[TokenisedDocument]:
    """The documents as tokens, whatever the tokenizer makes of them."""
    encoded = tokenizer(
        [document.text for document in batch],
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    joined = _Batch.of(batch, cast("list[list[int]]", encoded["input_ids"]))
    flat = chain.from_iterable(
        chain.from_iterable(cast("list[list[tuple[int, int]]]", encoded["offset_mapping"]))
    )
    spans = np.fromiter(flat, np.int64, 2 * len(joined.tokens)).reshape(-1, 2)
    return list(joined.cut(token_boundaries(spans + joined.before[:, None], joined.firsts, joined.begins)))


class _Batch(NamedTuple):
    """Documents that make tokens, joined: an array for each document costs more than what is done to it."""

    documents: list[Document]
    tokens: np.ndarray
    firsts: np.ndarray
    """Where each document's tokens begin, and where the last one's end."""
    begins: np.ndarray
    """Where each document begins in the joined text, in characters, and where the last one ends."""
    data: bytes
    """The joined text."""

    @classmethod
    def of(cls, documents: list[Document], tokens: list[list[int]]) -> "_Batch":
        """Documents with their tokens. Text that makes no token would go to the document before it."""
        kept = [document for document, ids in zip(documents, tokens, strict=True) if ids]
        counts = [len(ids) for ids in tokens if ids]
        return cls(
            kept,
            np.fromiter(chain.from_iterable(tokens), np.int32, sum(counts)),
            np.cumsum([0, *counts]),
            np.cumsum([0, *(len(document.text) for document in kept)]),
            "".join(document.text for document in kept).encode(),
        )

    @property
    def before(self) -> np.ndarray:
        """For each token, where its document begins."""
        return np.repeat(self.begins[:-1], np.diff(self.firsts))

    def cut(self, cuts: np.ndarray) -> Iterator[TokenisedDocument]:
        """The documents, when the joined text is cut here, in characters."""
        offsets = cuts[:-1] - self.before
        if len(self.data) != self.begins[-1]:
            cuts = np.append(np.flatnonzero(_begins_character(self.data)), len(self.data))[cuts]
        text = memoryview(self.data)
        for document, a, b in zip(self.documents, self.firsts[:-1], self.firsts[1:], strict=True):
            yield TokenisedDocument(document.row, self.tokens[a:b], offsets[a:b], cuts[a : b + 1], text)


def token_boundaries(spans: np.ndarray, firsts: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Where to cut joined texts so that each token has its own piece: one cut more than tokens.

    Text d begins at `begins[d]` and has the tokens from `firsts[d]` on; both end with what follows the last.
    Spans [tokens, 2] overlap where tokens share a character: the last of them gets it. Text between two spans,
    which a tokenizer dropped, goes to the later one, or to the last of its own text.
    """
    cuts = np.empty(len(spans) + 1, np.int64)
    np.minimum(spans[:-1, 1], spans[1:, 0], out=cuts[1:-1])
    cuts[firsts] = begins
    return np.minimum(np.maximum.accumulate(cuts), begins[-1])


def _begins_character(data: bytes) -> np.ndarray:
    """Which bytes of some UTF-8 begin a character."""
    return (np.frombuffer(data, np.uint8) & 0xC0) != 0x80


def _gpt2(name: str) -> bytes:
    """A byte for each character; what has others is spelt by none."""
    return bytes(_BYTES[character] for character in name) if _BYTES.keys() >= set(name) else b""


def _sentencepiece(name: str) -> bytes:
    if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        return bytes([int(name[3:5], 16)])
    return name.replace("▁", " ").encode()


def _gpt2_bytes() -> dict[str, int]:
    """The byte that each character stands for: itself where it can be printed, else one from 256 on."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTES = _gpt2_bytes()


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
