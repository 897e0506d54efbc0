"""Packing of documents into sequences of equal length, the rows of the `tokens` table.

How documents are packed affects which features fire:

- joined, as in the paper and in delphi: documents follow each other, with a separator between them, and continue in the
  next sequence. Nothing is lost, but a document's tokens attend to the end of the one before it.
- by document, as in SAELens with `disable_concat_sequences`: a sequence holds tokens of one document only, and
  what does not fill a sequence is dropped. Padding would keep it, but every later count of tokens and firings would
  then have to leave the padding out.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from storage.errors import WrongRequest
from storage.tables import TOKENS
from tasks.activations.corpus import Document, Packing
from tasks.activations.tokenise import TokenisedDocument, tokenise_documents

ROWS_AT_ONCE = 16
"""Rows that `packed_rows` makes at once."""

MAX_TEXT_BYTES = 2**31 - 1
"""Most bytes that an Arrow string column with 32-bit offsets can hold."""


class SpecialToken(NamedTuple):
    """A special token, such as the beginning of a sequence."""

    token: int
    string: str
    """Its name in the vocabulary."""


class RowPacker:
    """Full rows that are collected column by column, and the row that is being filled."""

    def __init__(
        self, sequence: int, bos: SpecialToken | None, separator: SpecialToken | None, packing: Packing
    ) -> None:
        self.sequence = sequence
        self.bos = bos
        self.separator = separator if packing == "joined" else None
        self.least = 1 if packing == "joined" else sequence - (bos is not None)
        """Fewest remaining tokens of a document that are packed."""
        self.filled = 0
        """Tokens in the row that is being filled."""
        self.clear()

    def clear(self) -> None:
        """Remove the full rows; only allowed while no row is partly filled."""
        assert not self.filled
        self.rows = 0
        """Number of full rows."""
        self._tokens: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._text: list[memoryview] = []
        self._documents: list[int] = []
        self._starts: list[int] = []
        self._offsets: list[int] = []
        self._parts: list[int] = [0]
        """Cumulative number of document parts at the end of each full row, starting with 0."""

    def place(self, document: TokenisedDocument) -> Iterator[int]:
        """Append a document; yields the number of full rows each time that it may have grown."""
        if self.filled and self.separator:
            self._put(self.separator)
            yield self.rows
        at = 0
        while len(document.tokens) - at >= self.least:
            at = self.take(document, at)
            yield self.rows

    def take(self, document: TokenisedDocument, first: int) -> int:
        """Append the document's tokens from `first` on, as many as fit into the row; returns the end (exclusive)."""
        if not self.filled and self.bos:
            self._put(self.bos)
        last = min(first + self.sequence - self.filled, len(document.tokens))
        self._documents.append(document.row)
        self._starts.append(self.filled)
        self._offsets.append(int(document.offsets[first]))
        cuts = document.cuts[first : last + 1]
        self._append(document.tokens[first:last], np.diff(cuts), document.text[cuts[0] : cuts[-1]])
        return last

    def table(self, first: int) -> pa.Table:
        """The full rows as rows of the `tokens` table, numbered from `first`."""
        length = self.rows * self.sequence
        tokens = np.concatenate(self._tokens)[:length]
        ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *self._sizes]))[: length + 1]
        if ends[-1] > MAX_TEXT_BYTES:
            msg = f"{self.rows} sequences of {self.sequence} tokens are too much text for one shard: lower runner.shard"
            raise WrongRequest(msg)
        text = pa.py_buffer(b"".join(self._text))
        strings = pa.StringArray.from_buffers(length, pa.py_buffer(ends.astype(np.int32)), text)
        even = np.arange(0, length + 1, self.sequence, dtype=np.int32)
        parts = np.array(self._parts, dtype=np.int32)
        columns = {
            "tokens": (even, tokens),
            "strings": (even, strings),
            "documents": (parts, self._documents[: parts[-1]]),
            "starts": (parts, self._starts[: parts[-1]]),
            "offsets": (parts, self._offsets[: parts[-1]]),
        }
        arrays = [pa.array(range(first, first + self.rows), pa.int64())]
        for name, (offsets, values) in columns.items():
            kind = TOKENS.schema.field(name).type
            arrays.append(pa.ListArray.from_arrays(offsets, pa.array(values, kind.value_type), kind))
        return pa.Table.from_arrays(arrays, schema=TOKENS.schema)

    def _put(self, special: SpecialToken) -> None:
        string = special.string.encode()
        self._append(np.array([special.token], np.int32), np.array([len(string)]), memoryview(string))

    def _append(self, tokens: np.ndarray, sizes: np.ndarray, text: memoryview) -> None:
        self._tokens.append(tokens)
        self._sizes.append(sizes)
        self._text.append(text)
        self.filled += len(tokens)
        if self.filled == self.sequence:
            self.rows += 1
            self.filled = 0
            self._parts.append(len(self._documents))


def packed_shards(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerFast,
    sequence: int,
    rows: int,
    shard: int,
    packing: Packing = "joined",
) -> Iterator[pa.Table]:
    """The `tokens` table, `shard` rows at a time: `rows` of them, or as many as the documents fill.

    Each row begins with the beginning-of-sequence token; documents that share a row are separated by the
    end-of-sequence token, or by the beginning-of-sequence token where there is none. With a tokenizer that has neither,
    there are no such tokens. Tokens after the last full row are dropped. Raises `WrongRequest` if no row is filled.
    """
    bos = _special(tokenizer, tokenizer.bos_token)
    separator = _special(tokenizer, tokenizer.eos_token) or bos
    gathered, made, longest = RowPacker(sequence, bos, separator, packing), 0, 0
    for document in tokenise_documents(documents, tokenizer):
        longest = max(longest, len(document.tokens))
        for full in gathered.place(document):
            if full == min(shard, rows - made):
                yield gathered.table(made)
                made += full
                gathered.clear()
            if made == rows:
                return
    if gathered.rows:
        yield gathered.table(made)
    elif made == 0:
        raise WrongRequest(_too_little(sequence, packing, gathered.filled, longest))


def packed_rows(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerFast,
    sequence: int,
    rows: int,
    packing: Packing = "joined",
) -> Iterator[dict[str, object]]:
    """The rows of `packed_shards` as dictionaries; for a few rows only, since each token becomes a Python object."""
    for table in packed_shards(documents, tokenizer, sequence, rows, ROWS_AT_ONCE, packing):
        yield from table.to_pylist()


def _too_little(sequence: int, packing: Packing, tokens: int, longest: int) -> str:
    if packing == "joined":
        return (
            f"the corpus holds {tokens} tokens, less than one sequence of {sequence}: "
            "give a larger corpus or shorter sequences"
        )
    return (
        f"no document of the corpus fills a sequence of {sequence}, the longest has {longest} tokens: "
        "ask for shorter sequences, or for corpus.packing joined"
    )


def token_texts(tokenizer: PreTrainedTokenizerFast, tokens: Iterable[int]) -> list[str]:
    """The text of each token on its own; a part of a character is shown as `�`.

    Each is decoded after another token, because decoders strip the space before the first.
    """
    anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]
    before = len(_decoded(tokenizer, anchor))
    return [_decoded(tokenizer, [*anchor, token])[before:] for token in tokens]


def _decoded(tokenizer: PreTrainedTokenizerFast, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))


def _special(tokenizer: PreTrainedTokenizerFast, name: object) -> SpecialToken | None:
    """A special token by its name; None where the tokenizer has none."""
    if name is None:
        return None
    return SpecialToken(cast("int", tokenizer.convert_tokens_to_ids(str(name))), str(name))
