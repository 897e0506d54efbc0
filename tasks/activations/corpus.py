"""The corpus: documents out of Parquet, a row group at a time. Knows no tokens and loads no torch."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from storage.errors import WrongRequest
from tasks.coders import files

BATCH = 1024
"""Documents that are read at once."""

SPLIT = "split"
"""The column that says which split a document is of."""


class Document(NamedTuple):
    """One text of the corpus."""

    row: int
    """Its row in the corpus, from 0; over all files when there are several."""
    text: str


class Corpus(BaseModel, frozen=True):
    """The text that the features fire on."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    path: str
    """Parquet file, or a folder of them, read in the order of their names; local or a URL such as
    s3://bucket/corpus.parquet."""
    column: str = "text"
    """Column of strings, one document per row; nulls and empty documents are left out."""
    split: str | None = None
    """Only rows whose column `split` holds this; null takes all."""
    tokens: int = Field(gt=0)
    """How many tokens of it are used, rounded down to whole sequences; less when it holds fewer."""
    sequence: int = Field(default=256, ge=2)
    """Length of a packed sequence, in tokens."""
    keep_bos: bool = False
    """Whether firings on the beginning-of-sequence token, which is always in the model's input, are kept."""

    @model_validator(mode="after")
    def _holds_a_sequence(self) -> "Corpus":
        if self.tokens < self.sequence:
            msg = f"tokens ({self.tokens}) must be at least one sequence ({self.sequence})"
            raise ValueError(msg)
        return self

    @property
    def rows(self) -> int:
        """How many sequences the tokens make."""
        return self.tokens // self.sequence

    def documents(self) -> Iterator[Document]:
        """Every document in order; refuses a corpus that has none."""
        row, found = 0, False
        system, paths = self._files()
        for path in paths:
            for texts in self._batches(system, path):
                for number, text in enumerate(texts, start=row):
                    if text:
                        found = True
                        yield Document(number, text)
                row += len(texts)
        if not found:
            kept = f" in rows of split {self.split}" if self.split else ""
            msg = f"the corpus {self.path} holds no text in column {self.column}{kept}: name another"
            raise WrongRequest(msg)

    def digest(self) -> str:
        """A hash of the files' contents."""
        system, paths = self._files()
        total = hashlib.sha256()
        for path in paths:
            total.update(files.content(system, path).encode())
        return total.hexdigest()

    def _files(self) -> tuple[fsspec.AbstractFileSystem, list[str]]:
        system, root = files.filesystem(self.path)
        try:
            if system.isfile(root):
                return system, [root]
            there = system.find(root)
        except Exception as error:  # a file system is anybody's code: s3fs lets botocore's errors through
            msg = f"the corpus {self.path} cannot be opened ({error}): check the path and the credentials"
            raise WrongRequest(msg) from error
        found = sorted(str(name) for name in there if str(name).endswith(".parquet"))
        if not found:
            msg = f"there is no corpus at {self.path}: give a Parquet file or a folder of them"
            raise WrongRequest(msg)
        return system, found

    def _batches(self, system: fsspec.AbstractFileSystem, path: str) -> Iterator[list[str | None]]:
        try:
            with system.open(path, "rb") as opened, pq.ParquetFile(opened) as parquet:
                self._check(parquet.schema_arrow, path)
                for batch in parquet.iter_batches(BATCH, columns=sorted(self._columns())):
                    yield self._kept(batch)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).split("\n")[0].rstrip(".")
            msg = f"the corpus file {path} cannot be read ({reason}): make it again"
            raise WrongRequest(msg) from error

    def _columns(self) -> set[str]:
        return {self.column, SPLIT} if self.split else {self.column}

    def _kept(self, batch: pa.RecordBatch) -> list[str | None]:
        """The texts of all rows, null where the row is of another split: rows keep their numbers."""
        texts = batch.column(self.column).to_pylist()
        if self.split is None:
            return texts
        splits = batch.column(SPLIT).to_pylist()
        return [text if split == self.split else None for text, split in zip(texts, splits, strict=True)]

    def _check(self, schema: pa.Schema, path: str) -> None:
        missing = sorted(self._columns() - set(schema.names))
        if missing:
            msg = f"the corpus file {path} has no column {missing[0]}: it has {', '.join(schema.names)}"
            raise WrongRequest(msg)
        kind = schema.field(self.column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            msg = f"column {self.column} of the corpus file {path} is {kind}, not text: name another"
            raise WrongRequest(msg)
