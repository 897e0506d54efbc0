"""The windows in which features fire, on the grid or around their peaks, and which of them repeat an earlier text.

Every window that is shown because a feature fires in it is placed here, the feature's own and those of others, so that
where a window begins tells nobody which of the two it is.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from tasks.sampling.corpus_text import CorpusText
from tasks.sampling.firings import Firings
from tasks.sampling.silent_windows import WindowStart


class Placed(NamedTuple):
    """Windows in which features fire."""

    windows: pa.Table
    """One row per feature and window, sorted by them: `feature`, `origin` and `peak`."""
    left_out: np.ndarray
    """[n] int64, ascending: rows in which a feature fires with a text that an earlier window of its own has."""


@dataclass(frozen=True)
class Placing:
    """How a sampling places windows in the text of a cache."""

    text: CorpusText
    windows: Literal["grid", "peak"]
    segments: pa.Table | None = None
    """Where documents may be kept apart: `sequence`, `first` and `end` of each document's part, sorted by these, with
    the random number of the document (`random`) and its place in their order (`nth`). Windows around peaks lie inside
    of one."""

    @property
    def window_start(self) -> WindowStart | None:
        """Where the window of a token begins whose feature is silent; null on the grid."""
        return self._around if self.windows == "peak" else None

    def _around(self, sequence: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where windows around peaks would begin, and whether the stretch of text is long enough.

        As `sample_placed_peak.sql` has it, so that the start of a window does not tell whether a feature fires in it.
        """
        window, length = self.text.window, self.text.length
        first, end = np.zeros_like(position), np.full_like(position, length)
        if self.segments is not None:
            origin = self.segments["sequence"].to_numpy() * length + self.segments["first"].to_numpy()
            row = np.searchsorted(origin, sequence * length + position, "right") - 1
            first, end = (self.segments[name].to_numpy()[row].astype(np.int64) for name in ("first", "end"))
        return np.maximum(first, np.minimum(position - window // 2, end - window)), end - first >= window

    def place(
        self, connection: duckdb.DuckDBPyConnection, firings: Firings, fired: pa.Table | None = None
    ) -> Placed:
        """The windows of some features' firings; `fired` are those of the grid, where they are known already.

        Needs the temporary table `segments`. Replaces the tables `placed`, `window_texts` and `alike`.
        """
        window, length, window_texts = self.text.window, self.text.length, self.text.windows
        if self.windows == "peak":
            connection.register("to_place", firings.table())
            windows = query.rows(connection, "sample_placed_peak", window=window, length=length)
            connection.unregister("to_place")
            window_texts = self.text.window_texts(np.unique(windows["origin"].to_numpy()))
        else:
            windows = fired if fired is not None else firings.active_windows(window, length)
        connection.register("placed", windows.append_column("row", [np.arange(windows.num_rows)]))
        connection.register("window_texts", window_texts)
        query.run(connection, "sample_alike")
        return Placed(windows, query.rows(connection, "sample_left_out")["row"].to_numpy())
