"""Activating contexts of a bucket: where its windows lie, which may be shown, and which are."""

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from tasks.sampling.config import DECILES, FEWEST, order, strongest
from tasks.sampling.corpus_text import Text
from tasks.sampling.firings import Firings, counts, ranked
from tasks.sampling.non_activating import Anywhere
from tasks.sampling.random_order import shuffled
from tasks.sampling.work import Bucket, SampleWork


def draw(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    words: Text,
    bucket: Bucket,
    firings: Firings,
) -> Anywhere:
    """Make the temporary table `drawn` with the contexts of both readers; returns where others may be drawn.

    Needs the span's `segments` and `described`; leaves `firings`, `fired` and `drawable` for the kinds of
    non-activating contexts.
    """
    window, length = work.sampling.window, work.sequence
    anywhere = Anywhere(firings.busy(), firings.fired(window, length), len(words.ids), length, window)
    placed = _placed(connection, work, words, firings, anywhere.fired)
    _draw(connection, work, _look(connection, work, bucket, placed, anywhere))
    return anywhere


def _placed(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    words: Text,
    firings: Firings,
    fired: pa.Table,
) -> pa.Table:
    """Register a bucket's firings and where they lie; returns the windows that its contexts are drawn from."""
    window, length = work.sampling.window, work.sequence
    connection.register("firings", firings.table())
    connection.register("fired", fired)
    placed, told = fired, words.windows
    if work.sampling.windows == "peak":
        placed = query.rows(connection, "sample_placed_peak", window=window, length=length)
        told = words.told(np.unique(placed["origin"].to_numpy()), window)
    connection.register("placed", placed.append_column("row", [np.arange(placed.num_rows)]))
    connection.register("told", told)
    query.run(connection, "sample_alike")
    return placed


def _look(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    bucket: Bucket,
    placed: pa.Table,
    anywhere: Anywhere,
) -> pa.Table:
    """Find out what can be drawn of each feature; returns the windows that its contexts are drawn from."""
    sampling, window = work.sampling, work.sampling.window
    for name, rows in {"active": anywhere.busy, "gridded": anywhere.fired, "counted": placed}.items():
        connection.register(name, counts(rows))
    query.run(
        connection,
        "sample_drawable",
        coder=work.coder,
        chosen=bucket.chosen.tolist(),
        most=sampling.most_windows,
        min_firings=sampling.min_firings,
        min_windows=FEWEST,
        negatives=sum(kind.n for kind in (*sampling.contrast, *sampling.negatives) if kind.kind == "random"),
        sequences=anywhere.sequences,
        slots=anywhere.slots,
        **bucket.part._asdict(),
    )
    readers = {"explain": sampling.explain, "score": DECILES * sampling.per_decile}
    alike, sampled = (query.rows(connection, name) for name in ("sample_left_out", "sample_sampled"))
    windows = ranked(placed, alike["row"].to_numpy(), sampled, work.seed)
    connection.register("ranked", windows)
    if sampling.apart == "document":
        query.run(connection, "sample_sides", window=window, length=work.sequence, seed=work.seed, **readers)
        query.run(connection, "sample_one_sided", least=DECILES)
    query.run(connection, f"sample_windows_{sampling.apart}")
    return query.rows(connection, "sample_windows") if sampling.apart == "document" else windows


def _draw(connection: duckdb.DuckDBPyConnection, work: SampleWork, windows: pa.Table) -> None:
    """The activating contexts of both readers."""
    sampling, ordered = work.sampling, order(work.sampling.strategy)
    # What equal parts of each tenth come to; other orders may take all of the explainer's windows from one tenth, and
    # so may any where the tenths of one side are not alike.
    even = sampling.strategy.kind == "quantiles" and sampling.apart == "window"
    share = sampling.explain // DECILES + 1 if even else sampling.explain
    first, tenths = shuffled(windows, share + sampling.per_decile)
    connection.register("shuffled", first)
    connection.register("tenths", tenths)
    query.run(connection, f"turns_{ordered}", explain=sampling.explain)
    query.run(
        connection,
        "sample_activating",
        explain=sampling.explain,
        score=sampling.per_decile,
        strongest=strongest(sampling.strategy, sampling.explain),
        length=work.sequence,
    )
