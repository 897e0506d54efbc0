"""Sampling task: the contexts and samples of a span of buckets, from activations. DuckDB draws; see `storage/sql/`.

The firings of a span's own features are read once: Parquet parts are read by whole row groups, and with many features
one row group holds the firings of many buckets. Those of other features that fire in a context are read for each group
of buckets. Small buckets are drawn together, since each statement takes some time however few features it covers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.layout import Range, holding, overlapping
from storage.tables import ACTIVATIONS, CONTEXTS, SAMPLES
from tasks.sampling import activating
from tasks.sampling.firings import Firings, between, with_activations, with_other_activations
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
        read = partial(_read, connection, work)
        # Before the text, since the tasks of a process wait for each other to read that.
        firings = read(span, buckets) if counts.sum() <= MAX_FIRINGS else None
        draw = partial(_drawn, connection, work, _register_text(connection, work))
        if firings:
            return sum(
                _write(work, bucket, [drawn])
                for group in grouped(buckets)
                for bucket, drawn in zip(group, draw(group, firings), strict=True)
            )
        return sum(
            _write(
                work,
                bucket,
                [*chain.from_iterable(draw([piece], read(piece.part, [piece])) for piece in pieces)],
            )
            for bucket in buckets
            for pieces in [bucket.pieces(counts[bucket.part.first - span.first :], MAX_FIRINGS)]
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


def _read(
    connection: duckdb.DuckDBPyConnection, work: SampleWork, span: Range, buckets: Sequence[Bucket]
) -> Firings:
    """The firings of the chosen features of some buckets."""
    parts = work.lake.parts(work.activations, "activations")
    chosen = np.concatenate([bucket.chosen for bucket in buckets]).tolist()
    rows = query.rows(connection, "sample_firings", activations=parts, chosen=chosen, **span._asdict())
    return Firings.of(rows)


def _drawn(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    placing: Placing,
    buckets: Sequence[Bucket],
    firings: Firings,
) -> Iterator[Drawn]:
    """Samples and contexts of each of these neighbouring buckets, or of a piece of one; all are drawn together."""
    sampling = work.sampling
    whole = joined(buckets)
    windows = activating.draw(connection, work, placing, whole, firings.between(*whole.part))
    for role, kinds in (("explain", sampling.contrast), ("score", sampling.negatives)):
        pool = work.pool(connection, role, windows, placing)
        for kind in kinds:
            negatives.draw(pool, kind)
    contexts = _numbered(query.rows(connection, "contexts", coder=work.coder))
    samples = query.rows(connection, "samples", SAMPLES)
    others = _other_firings(connection, work, contexts)
    for part, *_ in buckets:
        rows = placing.text.with_tokens(between(contexts, *part))
        rows = with_activations(rows, firings.between(*part), work.sequence, sampling.window)
        rows = with_other_activations(rows, others, work.sequence, sampling.window)
        yield Drawn(between(samples, *part), rows)


def _other_firings(connection: duckdb.DuckDBPyConnection, work: SampleWork, contexts: pa.Table) -> Firings:
    """The firings of the features in `other`, in the sequences of the contexts that name them.

    Kind by kind, from the parts that hold such a sequence: the others of one kind are neighbours by index, those of
    another may be any, but in few sequences. What two kinds name is there twice.
    """
    parts = work.lake.parts(work.activations, "activations")
    named = contexts.select(["kind", "other", "sequence"]).filter(contexts["other"].is_valid())
    rows = []
    for kind in named["kind"].unique().to_pylist():
        of_kind = named.filter(pc.field("kind") == kind)
        others = of_kind["other"].to_numpy()
        rows.append(
            query.rows(
                connection,
                "sample_other_firings",
                activations=holding(parts, np.unique(of_kind["sequence"].to_numpy()).tolist()),
                kind=kind,
                first=int(others.min()),
                end=int(others.max()) + 1,
            )
        )
    return Firings.of(pa.concat_tables(rows) if rows else ACTIVATIONS.empty())


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
