"""Formats of corpus files; a new one is one file here and one line in `FORMATS`."""

from tasks.activations.corpora.arrow import Arrow
from tasks.activations.corpora.base import CorpusFormat
from tasks.activations.corpora.jsonl import JSONLines
from tasks.activations.corpora.parquet import Parquet
from tasks.activations.corpora.text import Text

FORMATS: tuple[CorpusFormat, ...] = (
    Parquet(),
    Arrow(),
    JSONLines(),
    Text(),
)
