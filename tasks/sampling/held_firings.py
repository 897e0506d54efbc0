"""The firings that a task holds, and the reading of those that it does not."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage import query
from storage.layout import holding
from tasks.sampling.firings import Firings


def read(connection: duckdb.DuckDBPyConnection, activations: Sequence[str], features: np.ndarray) -> Firings:
    """All firings of `features`, which ascend, from the parts of `activations`."""
    first, end = (int(features[0]), int(features[-1]) + 1) if len(features) else (0, 0)
    rows = query.rows(
        connection,
        "sample_firings",
        activations=activations,
        chosen=features.tolist(),
        first=first,
        end=end,
    )
    return Firings.of(rows)


@dataclass(frozen=True)
class HeldFirings:
    """All firings of some features, with a connection that reads those of others."""

    connection: duckdb.DuckDBPyConnection
    activations: Sequence[str]
    """The parts of the cache."""
    firings: Firings

    def of(self, features: np.ndarray) -> Firings:
        """All firings of any `features`, which ascend."""
        held = self.firings.fires(features)
        firings = self.firings.of_features(features[held])
        return (
            firings if held.all() else firings.with_(read(self.connection, self.activations, features[~held]))
        )

    def of_others(self, contexts: pa.Table) -> Firings:
        """The firings of the features in `other`, at least in the sequences of the `contexts` that name them.

        Those that are not held are read kind by kind, from the parts that hold such a sequence: those of one kind may
        be any features, but in few sequences. What two kinds name is there twice. Needs `drawn`.
        """
        named = contexts.select(["kind", "other", "sequence"]).filter(contexts["other"].is_valid())
        others = np.unique(named["other"].to_numpy())
        held = others[self.firings.fires(others)]
        firings = self.firings.of_features(held)
        named = named.filter(~np.isin(named["other"].to_numpy(), held))
        for kind in named["kind"].unique().to_pylist():
            firings = firings.with_(self._in_contexts(kind, named.filter(pc.field("kind") == kind)))
        return firings

    def _in_contexts(self, kind: str, contexts: pa.Table) -> Firings:
        others = np.unique(contexts["other"].to_numpy())
        rows = query.rows(
            self.connection,
            "sample_other_firings",
            activations=holding(self.activations, np.unique(contexts["sequence"].to_numpy()).tolist()),
            kind=kind,
            others=others.tolist(),
            first=int(others[0]),
            end=int(others[-1]) + 1,
        )
        return Firings.of(rows)
