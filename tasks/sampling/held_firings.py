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


def read(connection: duckdb.DuckDBPyConnection, parts: Sequence[str], features: np.ndarray) -> Firings:
    """All firings of `features`, which ascend, from the parts of `activations`."""
    first, end = (int(features[0]), int(features[-1]) + 1) if len(features) else (0, 0)
    rows = query.rows(
        connection,
        "sample_firings",
        activations=parts,
        chosen=features.tolist(),
        first=first,
        end=end,
    )
    return Firings.of(rows)


@dataclass(frozen=True)
class HeldFirings:
    """All firings of some features, with a connection that reads those of others."""

    connection: duckdb.DuckDBPyConnection
    parts: Sequence[str]
    """Of `activations`."""
    firings: Firings

    def of_features(self, features: np.ndarray) -> Firings:
        """All firings of any `features`, which ascend."""
        held = self.firings.has(features)
        firings = self.firings.of_features(features[held])
        return firings if held.all() else firings.merged(read(self.connection, self.parts, features[~held]))

    def of_others(self, contexts: pa.Table) -> Firings:
        """The firings of the features in `other`, at least in the sequences of the `contexts` that name them.

        Those that are not held are read kind by kind, from the parts that hold such a sequence: those of one kind may
        be any features, but in few sequences. What two kinds name is there twice.
        """
        named = contexts.select(["kind", "other", "sequence"]).filter(contexts["other"].is_valid())
        others = np.unique(named["other"].to_numpy())
        held = others[self.firings.has(others)]
        firings = self.firings.of_features(held)
        named = named.filter(~np.isin(named["other"].to_numpy(), held))
        for kind in named["kind"].unique().to_pylist():
            firings = firings.merged(self._in_contexts(named.filter(pc.field("kind") == kind)))
        return firings

    def _in_contexts(self, contexts: pa.Table) -> Firings:
        others = contexts["other"].to_numpy()
        self.connection.register("named", contexts)
        rows = query.rows(
            self.connection,
            "sample_other_firings",
            activations=holding(self.parts, np.unique(contexts["sequence"].to_numpy()).tolist()),
            first=int(others.min()),
            end=int(others.max()) + 1,
        )
        self.connection.unregister("named")
        return Firings.of(rows)
