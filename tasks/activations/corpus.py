"""The config of a corpus, and its documents in order, from files or the Hub. Imports no torch."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from storage.errors import WrongRequest
from tasks.activations.corpora import files
from tasks.activations.corpora.base import CorpusSelection, CorpusSource, DocumentUnit
from tasks.activations.corpora.hub import HubDataset, dataset_repository
from tasks.fields import ConfigModel

Packing = Literal["joined", "by_document"]
"""How documents become sequences."""


class Document(NamedTuple):
    """One text of the corpus."""

    row: int
    """Its row in the corpus, from 0; over all files when there are several."""
    text: str


class Corpus(ConfigModel, frozen=True):
    """The text that the features fire on."""

    path: str = Field(min_length=1)
    """Parquet, Arrow, JSON lines (`.jsonl`, `.ndjson`, `.json`) or text (`.txt`), the last two also `.gz` or `.zst`:
    a file, a folder or a pattern such as data/*.jsonl.zst, read in the order of their names; local or a URL such as
    s3://bucket/corpus.parquet. Names that begin with `.` or `_` are no data in a folder or a pattern, unless the
    pattern spells that sign; a file named by itself is read. Or a folder that `save_to_disk` of `datasets` wrote, or
    hf://owner/name, a dataset of the Hub, which is streamed."""
    column: str = "text"
    """Column or key of strings, one document per row; nulls and empty documents are left out. Text files have none."""
    split: str | None = None
    """Of a dataset of the Hub or one saved to disk, this split; of other files, the rows whose column `split` holds
    this. null takes all."""
    subset: str | None = None
    """Which of its configurations, where a dataset of the Hub has several."""
    revision: str | None = None
    """Branch, tag or commit of a dataset of the Hub; null takes its main branch."""
    document: DocumentUnit = "file"
    """What of a text file is one document; paragraphs are what blank lines part. Other files have one in each row."""
    tokens: int = Field(gt=0)
    """How many tokens of it are used, rounded down to whole sequences; less when it holds fewer."""
    sequence: int = Field(default=256, ge=2)
    """Length of a packed sequence, in tokens."""
    packing: Packing = "joined"
    """joined: documents follow each other in a sequence, a separator between them. by_document: a sequence holds one
    document only, and what is left of it after its last full sequence is dropped, as are shorter documents; never
    is a sequence padded."""
    keep_bos: bool = False
    """Whether firings on the beginning-of-sequence token, which is always in the model's input, are kept."""

    @model_validator(mode="after")
    def _holds_a_sequence(self) -> "Corpus":
        if self.tokens < self.sequence:
            msg = f"tokens ({self.tokens}) must be at least one sequence ({self.sequence})"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _says_what_its_path_has(self) -> "Corpus":
        if dataset_repository(self.path) is None:
            for key in ("subset", "revision"):
                if getattr(self, key) is not None:
                    msg = f"{key} is of a dataset of the Hub, hf://owner/name, and path is {self.path}: leave it out"
                    raise ValueError(msg)
        elif self.document != "file":
            msg = f"document is of text files, and path is {self.path}: leave it out"
            raise ValueError(msg)
        return self

    @property
    def rows(self) -> int:
        """How many sequences the tokens make."""
        return self.tokens // self.sequence

    def documents(self) -> Iterator[Document]:
        """Every document in order; refuses a corpus that has none."""
        empty = True
        for row, text in enumerate(self._source().texts()):
            if text:
                empty = False
                yield Document(row, text)
        if empty:
            in_split = f" in rows of split {self.split}" if self.split else ""
            msg = f"the corpus {self.path} holds no text in column {self.column}{in_split}: name another"
            raise WrongRequest(msg)

    def digest(self) -> str:
        """A hash of the files' contents; of a dataset of the Hub, its commit."""
        return self._source().digest()

    def identity(self) -> dict[str, object]:
        """All that determines which rows it is packed into, with a given tokenizer; `tokens` determines how many."""
        always = {"column": self.column, "split": self.split, "sequence": self.sequence}
        # Options that were added later count only where they are not the default, or old caches would be lost.
        added = {"document": self.document, "packing": self.packing}
        default = {key: type(self).model_fields[key].default for key in added}
        return {"corpus": self.digest(), **always, **{k: v for k, v in added.items() if v != default[k]}}

    def _source(self) -> CorpusSource:
        selection = CorpusSelection(self.column, self.split, self.document)
        repo = dataset_repository(self.path)
        if repo is not None:
            return HubDataset(repo, self.subset, self.revision, selection)
        return files.find_corpus_files(self.path, selection)
