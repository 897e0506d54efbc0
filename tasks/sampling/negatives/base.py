"""Base of the kinds of negatives: candidates of a kind, of which the first silent ones become contexts.

A kind yields candidates in an order of its own; `draw`, the same for all, takes those in which the feature is silent.
Which windows a feature gets never depends on the other features of its bucket.

    class SecondWindow(Kind, frozen=True):
        kind: Literal["second_window"] = "second_window"

        def candidates(self, pool: Pool) -> Iterator[pa.Table]:
            features = pool.lacking(self)["feature"]
            yield ...  # one row per feature and window, in any order: feature, sequence, start, turn
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import duckdb
import pyarrow as pa
from pydantic import Field

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from tasks.fields import ConfigModel
from tasks.sampling.held_firings import HeldFirings
from tasks.sampling.placing import Placing
from tasks.sampling.silent_windows import SilentWindows, without_overlaps

if TYPE_CHECKING:
    from tasks.llm.sentence_transformers import SentenceModel

CANDIDATES = pa.schema(
    [
        pa.field("feature", pa.int32(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),  # of the window in its sequence
        pa.field("near", pa.int32()),  # the neighbour that fires in the window
        pa.field("distance", pa.float32()),  # of the neighbour or the text from the feature, 0 the nearest
        pa.field("other", pa.int32()),  # another feature that fires in the window, whose activations are kept
    ]
)
"""Columns of candidates, one row per feature and window. A further column `turn`, of any numeric type, is their order
within a feature, the smallest first. `near`, `distance` and `other` may be left out: they are null then."""

BLOCK = 256
"""Sequences per block that is searched: neighbours in the corpus, so that a search reads few parts."""


class Kind(ConfigModel, ABC, frozen=True):
    """Settings that every kind has."""

    if TYPE_CHECKING:
        kind: str  # each kind declares its own literal, after `n`: the order of fields belongs to the fingerprint

    n: int = Field(default=100, ge=1)
    """Contexts per feature."""

    in_silent_sequences: ClassVar[bool] = False
    """Whether it needs sequences without a firing: a feature that leaves fewer than `n` windows in them is skipped."""

    of_neighbours: ClassVar[bool] = False
    """Whether another feature, `near`, fires in its windows."""

    of_density_groups: ClassVar[bool] = False
    """Whether its windows are of the `others` in a feature's density group, whose firings are read with its own."""

    @property
    def on_grid(self) -> bool:
        """Whether its windows begin at fixed places, whatever `windows` of the sampling says."""
        return False

    @property
    def others(self) -> int:
        """How many other features fire in a feature's contexts of this kind, as `other`; 0 if it asks for none."""
        return 0

    @property
    def described_neighbours(self) -> Mapping[str, int]:
        """Its key `neighbours`, where it reads them from `features`, by the key of `describe` that keeps them."""
        return {}

    @abstractmethod
    def candidates(self, pool: "Pool") -> Iterator[pa.Table]:
        """Candidates (`CANDIDATES` and `turn`) of the features that `pool.lacking` names.

        What one table has is drawn before the next one is asked for, and changes what is lacking.
        """


class SearchingKind(Kind, ABC, frozen=True):
    """A kind whose windows have to be searched for in the cache."""

    search: int = Field(default=16_384, ge=1)
    """Sequences that are searched at most, in whole blocks of 256 that are drawn at random; bounds the work per bucket
    of features, whatever the size of the cache."""

    @property
    def embedding_model(self) -> "SentenceModel | None":
        """The model whose vectors of the searched windows (`pool.embeddings`) it compares; None if none."""
        return None


@dataclass(frozen=True)
class Pool:
    """What the non-activating contexts of one role are drawn from.

    The connection has the bucket's temporary tables `firings`, `fired`, `drawable`, `texts`, `segments`, `cuts` and
    `drawn`.
    """

    connection: duckdb.DuckDBPyConnection
    role: str
    """`explain` or `score`."""
    windows: SilentWindows
    placing: Placing
    min_firings: int
    most_windows: int | None
    lake: Lake
    tokens: Step
    activations: Step
    features: Step
    seed: int
    held: HeldFirings
    """Of the features of the task, and of any others."""
    embeddings: Mapping[SearchingKind, Step] = field(default_factory=dict)
    """By kind, the vectors of windows that it compares."""

    def lacking(self, kind: Kind) -> pa.Table:
        """Sampled features with fewer contexts of a kind than its `n`, in ascending order.

        Columns: `feature`; `silent`, about how many silent windows it may be given; `in_silent_sequences`, how many of
        those lie in sequences without a firing.
        """
        return query.rows(self.connection, "negatives_short", n=kind.n, kind=kind.kind, role=self.role)

    def blocks(self, kind: SearchingKind) -> list[int]:
        """Blocks of sequences that a kind searches, in its order."""
        return blocks(self.windows.sequences, kind.search, self.seed)

    def parts_of_blocks(self, step: Step, table: str, searched: Sequence[int]) -> dict[str, object]:
        """Parameters of a statement that searches blocks of a table: its parts that hold them, and the blocks."""
        parts = parts_with_blocks(self.lake.parts(step, table), searched)
        return {table: parts, "blocks": list(searched), "block": BLOCK}


def draw(pool: Pool, kind: Kind) -> None:
    """Add a kind's contexts to the temporary table `drawn`, at most `kind.n` of each sampled feature."""
    for rows in kind.candidates(pool):
        silent = without_overlaps(pool.windows.only_silent(_conformed(rows)), pool.windows.window)
        texts = pool.placing.text.hashes(silent["sequence"].to_numpy(), silent["start"].to_numpy())
        pool.connection.register("silent", silent.append_column("text", pa.array(texts)))
        query.run(
            pool.connection,
            "negatives_take",
            n=kind.n,
            kind=kind.kind,
            role=pool.role,
            window=pool.windows.window,
        )


def _conformed(rows: pa.Table) -> pa.Table:
    """Candidates with the columns and types of `CANDIDATES`, and `turn`. Raises `KeyError` where one is missing."""
    columns = {
        column.name: pa.nulls(rows.num_rows, column.type)
        if column.nullable and column.name not in rows.column_names
        else rows[column.name].cast(column.type)
        for column in CANDIDATES
    }
    return pa.table({**columns, "turn": rows["turn"]})


def blocks(sequences: int, most: int, seed: int) -> list[int]:
    """Blocks of `BLOCK` sequences that a search reads, in its order: enough to hold `most`, all if there are fewer.

    They are drawn at random, the same ones for every feature. A smaller search is the beginning of a larger one.
    """
    shuffled = list(range(-(-sequences // BLOCK)))
    random.Random(f"{seed}/search").shuffle(shuffled)  # noqa: S311  (a draw, not a secret)
    return shuffled[: -(-most // BLOCK)]


def parts_with_blocks(parts: Sequence[str], searched: Sequence[int]) -> list[str]:
    """The parts that hold sequences of the blocks."""
    return [part for part in parts if any(_overlaps(Range.of(part), block) for block in searched)]


def _overlaps(part: Range, block: int) -> bool:
    return part.first < (block + 1) * BLOCK and block * BLOCK < part.end
