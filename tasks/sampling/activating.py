"""Draw the activating contexts of a bucket: its windows, what can be drawn of each feature, and the draw itself."""

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from tasks.sampling import DECILES
from tasks.sampling.config import FEWEST, order, strongest
from tasks.sampling.documents import EITHER, NEITHER, SIDES, divided
from tasks.sampling.firings import Firings, counts, ranked
from tasks.sampling.placing import Placed, Placing
from tasks.sampling.random_order import shuffled
from tasks.sampling.silent_windows import SilentWindows
from tasks.sampling.work import Bucket, SampleWork

CUTS = pa.schema([pa.field("feature", pa.int32()), pa.field("last", pa.uint64())])
"""The table `cuts` (`documents.Division`), empty where only windows are kept apart."""


def draw(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    placing: Placing,
    bucket: Bucket,
    firings: Firings,
) -> SilentWindows:
    """Make the temporary table `drawn` with the explainer's and the scorers' contexts; returns the silent windows.

    Needs the span's `segments` and `described`; leaves the tables `firings`, `fired`, `drawable` and `cuts` for the
    kinds of negatives.
    """
    window, length = work.sampling.window, work.sequence
    active, sequences = firings.active_windows(window, length), len(placing.text.ids)
    windows = SilentWindows(firings, active, sequences, length, window, placing.window_start)
    connection.register("firings", firings.table())
    connection.register("fired", windows.active_windows)
    placed = placing.place(connection, firings, windows.active_windows)
    _draw(connection, work, _drawable(connection, work, placing, bucket, placed, windows))
    return windows


def _drawable(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    placing: Placing,
    bucket: Bucket,
    placed: Placed,
    grid: SilentWindows,
) -> pa.Table:
    """Make the temporary table `drawable`; returns the windows that contexts are drawn from, ranked by peak."""
    sampling = work.sampling
    windows_of = {"active": grid.active_sequences, "gridded": grid.active_windows, "counted": placed.windows}
    for name, rows in windows_of.items():
        connection.register(name, counts(rows))
    query.run(
        connection,
        "sample_drawable",
        coder=work.coder,
        chosen=bucket.chosen.tolist(),
        most_windows=sampling.most_windows,
        min_firings=sampling.min_firings,
        min_windows=FEWEST,
        needed_silent=sum(
            kind.n for kind in (*sampling.contrast, *sampling.negatives) if kind.in_silent_sequences
        ),
        sequences=grid.sequences,
        slots=grid.slots,
        **bucket.part._asdict(),
    )
    sampled = query.rows(connection, "sample_sampled")
    windows = ranked(placed.windows, placed.left_out, sampled, work.seed)
    if sampling.apart == "window" or placing.segments is None:
        connection.register("cuts", CUTS.empty_table())
        return _sided(windows, np.full(windows.num_rows, EITHER, np.int8))
    return _documents_apart(connection, work, placing.segments, windows)


def _documents_apart(
    connection: duckdb.DuckDBPyConnection, work: SampleWork, segments: pa.Table, windows: pa.Table
) -> pa.Table:
    """The windows that may be shown, each to the reader whose document it is in; `drawable` says of which features."""
    sampling, per_decile = work.sampling, work.sampling.per_decile
    division = divided(
        windows,
        segments,
        window=sampling.window,
        length=work.sequence,
        explain=sampling.explain,
        score=DECILES * per_decile,
    )
    connection.register("sided", _sided(windows, division.sides))
    if sampling.apart == "document":
        query.run(connection, "sample_apart_document", least=DECILES)
    else:
        query.run(
            connection, "sample_apart_auto", explain=max(sampling.explain, DECILES), per_decile=per_decile
        )
    connection.unregister("sided")
    sampled = query.rows(connection, "sample_sampled")
    apart = sampled["feature"].to_numpy()[sampled["apart"].to_numpy() == "document"]
    cuts, feature = division.cuts, windows["feature"].to_numpy()
    connection.register("cuts", cuts.filter(np.isin(cuts["feature"].to_numpy(), apart)))
    is_apart = np.isin(feature, apart)
    shown = np.isin(feature, sampled["feature"].to_numpy()) & ~(is_apart & (division.sides == NEITHER))
    return _sided(windows.filter(shown), np.where(is_apart, division.sides, EITHER)[shown])


def _sided(windows: pa.Table, sides: np.ndarray) -> pa.Table:
    """Windows with the reader that each is for as `side`."""
    return windows.append_column("side", pa.DictionaryArray.from_arrays(pa.array(sides), SIDES))


def _draw(connection: duckdb.DuckDBPyConnection, work: SampleWork, windows: pa.Table) -> None:
    """Make the temporary table `drawn` with the explainer's and the scorers' activating contexts."""
    sampling, ordered = work.sampling, order(work.sampling.strategy)
    # The explainer's share of each decile where all give equally many; other orders may take all of its windows from
    # one decile, as may every order where the deciles of one side differ in size.
    even = sampling.strategy.kind == "quantiles" and sampling.apart == "window"
    share = sampling.explain // DECILES + 1 if even else sampling.explain
    first, tenths = shuffled(windows, share + sampling.per_decile)
    connection.register("windows", windows)
    connection.register("shuffled", first)
    connection.register("tenths", tenths)
    deciles = {"deciles": DECILES}
    by_tenths = deciles if ordered in {"quantiles", "values"} else {}
    query.run(connection, f"turns_{ordered}", explain=sampling.explain, **by_tenths)
    query.run(
        connection,
        "sample_activating",
        explain=sampling.explain,
        per_decile=sampling.per_decile,
        strongest=strongest(sampling.strategy, sampling.explain),
        length=work.sequence,
        **deciles,
    )
