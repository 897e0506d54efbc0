"""Tokenisation of documents, with the text of each token.

A token's text is taken from the bytes that its name in the vocabulary encodes, if the names of a document's tokens add
up to the document's bytes, which is checked. Where they don't, as with tokenizers that normalise text, the tokenizer's
offset mapping is used, which takes 1.5 times as long.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple, cast

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from tasks.activations.corpus import Document

BATCH_CHARACTERS = 2**20
"""Characters of text that are tokenised at once; fast tokenizers use all cores."""


class TokenisedDocument(NamedTuple):
    """A tokenised document, with the text of each token."""

    row: int
    tokens: np.ndarray
    """int32, one per token."""
    offsets: np.ndarray
    """Start of each token's text in the document, in characters."""
    cuts: np.ndarray
    """Start of each token's text in `text`, in bytes, and the end of the last: one more than there are tokens."""
    text: memoryview
    """UTF-8 of the whole batch of documents."""

    @property
    def strings(self) -> list[str]:
        """The text of each token."""
        ends = self.cuts[1:]
        return [str(self.text[a:b], "utf-8") for a, b in zip(self.cuts[:-1], ends, strict=True)]


class Spelling(NamedTuple):
    """The bytes that each token of a vocabulary encodes."""

    names: list[bytes]
    sizes: np.ndarray
    """Number of bytes per token."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> "Spelling":
        """Of a vocabulary as GPT-2, with a character per byte, or as SentencePiece, with `▁` and `<0x0A>`."""
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
    """Tokenise documents without special tokens; a document without any token is left out."""
    spelling: Spelling | None = Spelling.of(tokenizer)
    for batch in _batches(documents):
        tokenised = _by_spelling(batch, tokenizer, spelling) if spelling else None
        if tokenised is None:
            # A tokenizer that fails the check once would fail it again, and each batch would be tokenised twice.
            spelling, tokenised = None, _by_offsets(batch, tokenizer)
        yield from tokenised


def _by_spelling(
    batch: list[Document], tokenizer: PreTrainedTokenizerFast, spelling: Spelling
) -> list[TokenisedDocument] | None:
    """Tokenised documents, or None where the bytes of the tokens don't add up to a document's."""
    backend = tokenizer.backend_tokenizer
    # tokenizer.json may enable either; transformers disables both by default as well.
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
    # The index of each byte's character; a character that tokens share goes to the last of them.
    characters = np.cumsum(_begins_character(joined.data)) - 1
    return list(joined.cut(np.append(characters, joined.begins[-1])[ends]))


def _by_offsets(batch: list[Document], tokenizer: PreTrainedTokenizerFast) -> list[TokenisedDocument]:
    """Tokenised documents by the tokenizer's offset mapping."""
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
    """Documents with tokens, joined into single arrays, since an array per document would cost more than its use."""

    documents: list[Document]
    tokens: np.ndarray
    firsts: np.ndarray
    """Start of each document's tokens, and the end of the last one's."""
    begins: np.ndarray
    """Start of each document in the joined text, in characters, and the end of the last."""
    data: bytes
    """The joined text in UTF-8."""

    @classmethod
    def of(cls, documents: list[Document], tokens: list[list[int]]) -> "_Batch":
        """Join documents with their tokens, without those that have none: the one before would get their text."""
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
        """For each token, the start of its document in the joined text, in characters."""
        return np.repeat(self.begins[:-1], np.diff(self.firsts))

    def cut(self, cuts: np.ndarray) -> Iterator[TokenisedDocument]:
        """The documents, with the joined text cut into tokens at these positions, in characters."""
        offsets = cuts[:-1] - self.before
        if len(self.data) != self.begins[-1]:
            cuts = np.append(np.flatnonzero(_begins_character(self.data)), len(self.data))[cuts]
        text = memoryview(self.data)
        for document, a, b in zip(self.documents, self.firsts[:-1], self.firsts[1:], strict=True):
            yield TokenisedDocument(document.row, self.tokens[a:b], offsets[a:b], cuts[a : b + 1], text)


def token_boundaries(spans: np.ndarray, firsts: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Positions at which joined texts are cut into the texts of their tokens: one more than there are tokens.

    Text d begins at `begins[d]` and its tokens at `firsts[d]`; both arrays end with the end of the last text. Spans
    [tokens, 2] overlap where tokens share a character: the last of them gets it. Text between two spans, which the
    tokenizer dropped, goes to the later token, or at the end of a text to its last token.
    """
    cuts = np.empty(len(spans) + 1, np.int64)
    np.minimum(spans[:-1, 1], spans[1:, 0], out=cuts[1:-1])
    cuts[firsts] = begins
    return np.minimum(np.maximum.accumulate(cuts), begins[-1])


def _begins_character(data: bytes) -> np.ndarray:
    """[n] bool: whether a byte of UTF-8 begins a character."""
    return (np.frombuffer(data, np.uint8) & 0xC0) != 0x80


def _gpt2(name: str) -> bytes:
    """The byte of each character; no bytes for a name with a character that stands for none."""
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
