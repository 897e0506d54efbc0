"""Activating contexts of a bucket: where its windows lie, which may be shown, and which are."""

from collections.abc import Mapping

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from tasks.contexts.peaks import Firings, ranked
from tasks.contexts.sampling import DECILES, FEWEST
from tasks.contexts.strategies import order, strongest
from tasks.sample_work import Bucket, SampleWork


def draw(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    bucket: Bucket,
    firings: Firings,
    size: Mapping[str, int],
) -> None:
    """Make the temporary table `drawn` with the contexts of both readers.

    `size` has the cache's `sequences` and the windows per sequence, `slots`. Needs the span's `texts`, `sequences`,
    `segments` and `described`; leaves `firings`, `busy`, `fired`, `drawable` and `barred` for the kinds of
    non-activating contexts.
    """
    _look(connection, work, bucket, _placed(connection, work, firings), size)
    _draw(connection, work)


def _placed(connection: duckdb.DuckDBPyConnection, work: SampleWork, firings: Firings) -> pa.Table:
    """Register a bucket's firings and where they lie; returns the windows that its contexts are drawn from."""
    window, length = work.sampling.window, work.sequence
    fired = firings.fired(window, length)
    for name, rows in {"firings": firings.table(), "busy": firings.busy(), "fired": fired}.items():
        connection.register(name, rows)
    if work.sampling.windows == "grid":
        placed, told = fired, "sample_told_grid"
    else:
        placed = query.rows(connection, "sample_placed_peak", window=window, length=length)
        told = "sample_told_peak"
    connection.register("placed", placed.append_column("row", [np.arange(placed.num_rows)]))
    query.run(connection, told, **({} if placed is fired else {"window": window, "length": length}))
    query.run(connection, "sample_alike")
    return placed


def _look(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    bucket: Bucket,
    placed: pa.Table,
    size: Mapping[str, int],
) -> None:
    """What can be drawn of each feature, and from which windows."""
    sampling, window = work.sampling, work.sampling.window
    query.run(
        connection,
        "sample_drawable",
        coder=work.coder,
        chosen=bucket.chosen.tolist(),
        most=sampling.most_windows,
        min_firings=sampling.min_firings,
        min_windows=FEWEST,
        negatives=sum(kind.n for kind in (*sampling.contrast, *sampling.negatives) if kind.kind == "random"),
        **bucket.part._asdict(),
        **size,
    )
    readers = {"explain": sampling.explain, "score": DECILES * sampling.per_decile}
    alike, sampled = (query.rows(connection, name) for name in ("sample_left_out", "sample_sampled"))
    connection.register("ranked", ranked(placed, alike["row"].to_numpy(), sampled, DECILES))
    if sampling.apart == "document":
        query.run(connection, "sample_sides", window=window, length=work.sequence, seed=work.seed, **readers)
        query.run(connection, "sample_one_sided", least=DECILES)
    query.run(connection, f"sample_windows_{sampling.apart}")


def _draw(connection: duckdb.DuckDBPyConnection, work: SampleWork) -> None:
    """The activating contexts of both readers."""
    sampling, ordered = work.sampling, order(work.sampling.strategy)
    # What equal parts of each tenth come to; other orders may take all of the explainer's windows from one tenth, and
    # so may any where the tenths of one side are not alike.
    even = sampling.strategy.kind == "quantiles" and sampling.apart == "window"
    share = sampling.explain // DECILES + 1 if even else sampling.explain
    query.run(connection, "sample_shuffled", most=share + sampling.per_decile, seed=work.seed)
    seeded = {} if ordered in {"quantiles", "top"} else {"seed": work.seed}
    query.run(connection, f"turns_{ordered}", explain=sampling.explain, **seeded)
    query.run(
        connection,
        "sample_activating",
        explain=sampling.explain,
        score=sampling.per_decile,
        strongest=strongest(sampling.strategy, sampling.explain),
        length=work.sequence,
    )
    query.run(connection, "sample_barred", window=sampling.window)
