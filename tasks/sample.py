"""A span of buckets of features: activations -> contexts and samples. DuckDB draws; see `storage/sql/`.

The firings of a span are read once, and its buckets drawn one after the other: what is read of a Parquet part is
whole row groups, and where features are many, one of them holds the firings of many buckets.
"""

from collections.abc import Sequence
from functools import partial

import duckdb
import numpy as np
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.layout import Range, overlapping
from storage.tables import CONTEXTS, SAMPLES
from tasks import activating, negatives
from tasks.contexts.peaks import Firings, with_activations
from tasks.sample_work import MOST, Bucket, SampleWork
from tasks.text import Text, text


@task(
    name="sample",
    task_run_name="sample {work.coder} {span.first}-{span.end}",
    retries=2,
    cache_policy=NO_CACHE,
)
def sample_span(work: SampleWork, span: Range, buckets: Sequence[Bucket]) -> int:
    """Draw the contexts of the chosen features of a span's buckets; returns how many."""
    words, total = text(work), 0
    with work.lake.connect(threads=1, memory=work.memory) as connection:
        counts = _counts(connection, work, words, span)
        read = partial(_read, connection, work)
        together = read(span, buckets) if counts.sum() <= MOST else None
        for bucket in buckets:
            draw = partial(_drawn, connection, work, words)
            if together:
                pieces = [draw(bucket, together.between(*bucket.part))]
            else:
                some = bucket.pieces(counts[bucket.part.first - span.first :], MOST)
                pieces = [draw(piece, read(piece.part, [piece])) for piece in some]
            samples, contexts = (pa.concat_tables(tables) for tables in zip(*pieces, strict=True))
            work.lake.write(SAMPLES, work.step.part("samples", bucket.part), samples)
            work.lake.write(CONTEXTS, work.step.part("contexts", bucket.part), contexts)
            total += contexts.num_rows
    return total


def _counts(connection: duckdb.DuckDBPyConnection, work: SampleWork, words: Text, span: Range) -> np.ndarray:
    """Make ready what all buckets of a span need, text, documents, `features`; returns how often each feature fires."""
    connection.register("texts", words.windows)
    connection.register("sequences", words.sequences())
    query.run(
        connection,
        "sample_segments",
        tokens=work.lake.parts(work.tokens, "tokens"),
        length=work.sequence,
        apart=work.sampling.apart == "document",
    )
    parts = overlapping(work.lake.parts(work.features, "features"), span)
    described = query.rows(connection, "sample_counts", features=parts, **span._asdict())
    connection.register("described", described)
    return described["firings"].to_numpy()


def _read(
    connection: duckdb.DuckDBPyConnection, work: SampleWork, span: Range, buckets: Sequence[Bucket]
) -> Firings:
    """The firings of the chosen features of some buckets."""
    parts = work.lake.parts(work.activations, "activations")
    chosen = np.concatenate([bucket.chosen for bucket in buckets]).tolist()
    rows = query.rows(connection, "sample_firings", activations=parts, chosen=chosen, **span._asdict())
    return Firings.of(rows)


def _drawn(
    connection: duckdb.DuckDBPyConnection, work: SampleWork, words: Text, bucket: Bucket, firings: Firings
) -> tuple[pa.Table, pa.Table]:
    """Samples and contexts of a bucket, or of a piece of one."""
    sampling = work.sampling
    size = {"sequences": len(words.ids), "slots": work.sequence // sampling.window}
    activating.draw(connection, work, bucket, firings, size)
    for role, kinds in (("explain", sampling.contrast), ("score", sampling.negatives)):
        for kind in kinds:
            negatives.draw(connection, work, kind, role, size)
    query.run(connection, "contexts_numbered")
    rows = query.rows(connection, "contexts", coder=work.coder)
    fired = query.rows(connection, "contexts_fired", window=sampling.window)
    contexts = with_activations(words.spelled(rows, sampling.window), fired, sampling.window)
    return query.rows(connection, "samples", SAMPLES), contexts
