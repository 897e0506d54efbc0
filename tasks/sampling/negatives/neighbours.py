"""The kinds `cooccurring` and `similar`: silent windows in which a neighbouring feature fires."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage import query
from tasks.sampling.firings import Firings
from tasks.sampling.negatives.base import Pool, SearchingKind
from tasks.sampling.random_order import randoms

FIRINGS = 1_000
"""Firings of a feature, drawn at random, that decide with which features it fires."""

WINDOWS = 1_000
"""Windows of a neighbour that are considered, drawn at random; around peaks, those of sequences with so many firings.
"""


class Cooccurring(SearchingKind, frozen=True):
    """Silent windows in which a feature fires that often fires on the same tokens, the nearest by Jaccard index first.

    Of each neighbour's windows some are drawn at random. The strongest would differ from a feature's own, which are of
    all strengths, in more than what the explanation says: they often lie at the beginning of a text.
    """

    kind: Literal["cooccurring"] = "cooccurring"
    neighbours: int = Field(default=10, ge=1)
    """Nearest features."""

    of_neighbours: ClassVar[bool] = True

    @property
    def others(self) -> int:
        """The neighbours."""
        return self.neighbours

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Windows of the features that fire on the same tokens."""
        query.run(
            pool.connection,
            "cooccurring",
            lacking=pool.lacking(self)["feature"].to_pylist(),
            neighbours=self.neighbours,
            most_firings=FIRINGS,
            seed=pool.seed,
            **pool.parts_of_blocks(pool.activations, "activations", pool.blocks(self)),
        )
        return _windows_of_nearest(self, pool)


class Similar(SearchingKind, frozen=True):
    """Silent windows in which a feature with a near decoder or encoder row fires, the nearest by cosine first.

    As with `cooccurring`, each neighbour's windows are drawn at random (paper D.5, by decoder rows).
    """

    kind: Literal["similar"] = "similar"
    by: Literal["decoder", "encoder"] = "decoder"
    """Whose rows are compared."""
    neighbours: int = Field(default=10, ge=1)
    """Nearest features; at most as many as `describe.neighbours`, or `describe.encoder_neighbours`, keeps."""

    of_neighbours: ClassVar[bool] = True

    @property
    def others(self) -> int:
        """The neighbours."""
        return self.neighbours

    @property
    def described_neighbours(self) -> Mapping[str, int]:
        """Those by decoder rows or by encoder rows."""
        return {"neighbours" if self.by == "decoder" else "encoder_neighbours": self.neighbours}

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Windows of the features with near rows, as the table `features` lists them."""
        query.run(
            pool.connection,
            "negatives_similar",
            features=pool.lake.parts(pool.features, "features"),
            lacking=pool.lacking(self)["feature"].to_pylist(),
            by=self.by,
            neighbours=self.neighbours,
        )
        return _windows_of_nearest(self, pool)


def _windows_of_nearest(kind: Cooccurring | Similar, pool: Pool) -> Iterator[pa.Table]:
    """Silent windows in which the neighbours of the temporary table `nearest` fire."""
    searched = pool.parts_of_blocks(pool.activations, "activations", pool.blocks(kind))
    window = pool.windows.window
    if pool.placing.windows == "grid":
        query.run(
            pool.connection, "negatives_near_windows", most=WINDOWS, window=window, seed=pool.seed, **searched
        )
    else:
        firings = query.rows(
            pool.connection, "negatives_near_firings", None, most=WINDOWS, seed=pool.seed, **searched
        )
        pool.connection.register("near_windows", _around_peaks(pool, Firings.of(firings)))
    query.run(pool.connection, "negatives_near", each=-(-kind.n // kind.neighbours), window=window)
    yield query.rows(pool.connection, "candidates")


def _around_peaks(pool: Pool, firings: Firings) -> pa.Table:
    """The windows in which neighbours fire, placed as a feature's own: the columns of `near_windows`."""
    placed = pool.placing.place(pool.connection, firings)
    near, origin = (
        np.delete(placed.windows[name].to_numpy(), placed.left_out) for name in ("feature", "origin")
    )
    sequence, start = np.divmod(origin, pool.windows.length)
    return pa.table(
        {
            "near": near,
            "sequence": sequence,
            "start": start.astype(np.int32),
            "text": pool.placing.text.hashes(sequence, start),
            "random": randoms(near, origin, pool.seed),
        }
    )
