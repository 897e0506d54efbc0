"""Sampling task: the contexts and samples of a span of buckets, from activations. DuckDB draws; see `storage/sql/`.

The firings of a span's features, and of others near them that fire in their contexts, are read once, as far as they can
be held: Parquet parts are read by whole row groups, and with many features one row group holds the firings of many
buckets. Small buckets are drawn together, since each statement takes some time however few features it covers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.layout import Range, overlapping
from storage.tables import CONTEXTS, SAMPLES
from tasks.sampling import activating
from tasks.sampling.firings import between, with_activations, with_other_activations
from tasks.sampling.held_firings import HeldFirings
from tasks.sampling.negatives import base as negatives
from tasks.sampling.placing import Placing
from tasks.sampling.work import MAX_FIRINGS, Bucket, SampleWork, grouped, joined


class Drawn(NamedTuple):
    """Rows of both tables for a bucket, or a piece of one."""

    samples: pa.Table
    contexts: pa.Table


@task(
    name="sample",
    task_run_name="sample {work.coder} {span.first}-{span.end}",
    retries=2,
    cache_policy=NO_CACHE,
)
def sample_span(work: SampleWork, span: Range, buckets: Sequence[Bucket]) -> int:
    """Draw the contexts of the chosen features of a span's buckets; returns how many."""
    with work.lake.connect(threads=1, memory=work.memory) as connection:
        counts = _counts(connection, work, span)
        # Before the text, since the tasks of a process wait for each other to read that.
        held = _held(connection, work, buckets, counts, span.first)
        draw = partial(_drawn, connection, work, _register_text(connection, work))
        if held:
            return sum(
                _write(work, bucket, [drawn])
                for group in grouped(buckets)
                for bucket, drawn in zip(group, draw(group, held), strict=True)
            )
        return sum(
            _write(
                work,
                bucket,
                [*_drawn_in_pieces(connection, work, bucket, counts[bucket.chosen - span.first], draw)],
            )
            for bucket in buckets
        )


def _counts(connection: duckdb.DuckDBPyConnection, work: SampleWork, span: Range) -> np.ndarray:
    """Register `described`, a span's rows of `features`; returns how often each of its features fires."""
    parts = overlapping(work.lake.parts(work.features, "features"), span)
    described = query.rows(connection, "sample_counts", features=parts, **span._asdict())
    connection.register("described", described)
    return described["firings"].to_numpy()


def _register_text(connection: duckdb.DuckDBPyConnection, work: SampleWork) -> Placing:
    """Register the texts of the cache's windows, and its segments; returns how windows are placed in it."""
    placing, apart = work.placing(), work.sampling.apart != "window"
    connection.register("texts", placing.text.windows)
    query.run(
        connection,
        "sample_segments",
        tokens=work.lake.parts(work.tokens, "tokens"),
        length=work.sequence,
        apart=apart,
        seed=work.seed,
    )
    if not apart:
        return placing
    return replace(placing, segments=query.rows(connection, "sample_segments_of_documents"))


def _held(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    buckets: Sequence[Bucket],
    counts: np.ndarray,
    first: int,
) -> HeldFirings | None:
    """The firings of the chosen features of a span, with those of others that their contexts are made of.

    These others are near them by index, so that the row groups that are read hold nearly all of them. Where they would
    be too many, those of the chosen features alone; None where these are. `counts` are the firings of each feature from
    `first` on.
    """
    chosen = joined(buckets).chosen
    firings = int(counts[chosen - first].sum())
    if firings > MAX_FIRINGS:
        return None
    others = work.other_features(connection, chosen)
    fits = firings + sum(others["firings"].to_pylist()) <= MAX_FIRINGS
    return work.held(connection, np.union1d(chosen, others["feature"].to_numpy()) if fits else chosen)


def _drawn_in_pieces(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    bucket: Bucket,
    firings: np.ndarray,
    draw: Callable[[Sequence[Bucket], HeldFirings], Iterator[Drawn]],
) -> Iterator[Drawn]:
    """Samples and contexts of a bucket whose chosen features fire too often to be held at a time: `firings` each."""
    for piece in bucket.pieces(firings, MAX_FIRINGS):
        yield from draw([piece], work.held(connection, piece.chosen))


def _drawn(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    placing: Placing,
    buckets: Sequence[Bucket],
    held: HeldFirings,
) -> Iterator[Drawn]:
    """Samples and contexts of each of these neighbouring buckets, or of a piece of one; all are drawn together."""
    sampling = work.sampling
    whole = joined(buckets)
    firings = held.firings.of_features(whole.chosen)
    windows = activating.draw(connection, work, placing, whole, firings)
    for role, kinds in (("explain", sampling.contrast), ("score", sampling.negatives)):
        pool = work.pool(connection, role, windows, placing, held)
        for kind in kinds:
            negatives.draw(pool, kind)
    contexts = _numbered(query.rows(connection, "contexts", coder=work.coder))
    samples = query.rows(connection, "samples", SAMPLES)
    others = held.of_others(contexts)
    for part, *_ in buckets:
        rows = placing.text.with_tokens(between(contexts, *part))
        rows = with_activations(rows, firings.between(*part), work.sequence, sampling.window)
        rows = with_other_activations(rows, others, work.sequence, sampling.window)
        yield Drawn(between(samples, *part), rows)


def _numbered(contexts: pa.Table) -> pa.Table:
    """Contexts, sorted by feature, with the number of each within its feature."""
    feature = contexts["feature"].to_numpy()
    return contexts.append_column("context", [np.arange(len(feature)) - np.searchsorted(feature, feature)])


def _write(work: SampleWork, bucket: Bucket, drawn: Sequence[Drawn]) -> int:
    """Write the rows of a bucket's pieces; returns how many contexts."""
    samples, contexts = (pa.concat_tables(pieces) for pieces in zip(*drawn, strict=True))
    work.lake.write(SAMPLES, work.step.part("samples", bucket.part), samples)
    work.lake.write(CONTEXTS, work.step.part("contexts", bucket.part), contexts)
    return contexts.num_rows
