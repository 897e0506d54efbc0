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

    def place(
        self, connection: duckdb.DuckDBPyConnection, firings: Firings, fired: pa.Table | None = None
    ) -> Placed:
        """The windows of some features' firings; `fired` are those of the grid, where they are known already.

        Needs the temporary table `segments`. Makes `placed`, `window_texts` and `alike`, in the place of earlier ones.
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
