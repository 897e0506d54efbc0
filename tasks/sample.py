"""A span of buckets of features: activations -> contexts and samples. DuckDB draws; see `storage/sql/`.

The firings of a span are read once, since what is read of a Parquet part is whole row groups, and where features are
many, one of them holds the firings of many buckets. Some buckets are drawn together, since every statement takes its
time, however few features it is about.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.layout import Range, overlapping
from storage.tables import CONTEXTS, SAMPLES
from tasks.sampling import activating, non_activating
from tasks.sampling.corpus_text import Text, text
from tasks.sampling.firings import Firings, between, with_activations
from tasks.sampling.work import MOST, Bucket, SampleWork, joined, together


class Drawn(NamedTuple):
    """What was drawn of a bucket, or of a piece of one."""

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
        # Before the text, for which the tasks of a process wait for each other.
        firings = read(span, buckets) if counts.sum() <= MOST else None
        draw = partial(_drawn, connection, work, _words(connection, work))
        if firings:
            return sum(
                _write(work, bucket, [drawn])
                for some in together(buckets)
                for bucket, drawn in zip(some, draw(some, firings), strict=True)
            )
        return sum(
            _write(
                work,
                bucket,
                [*chain.from_iterable(draw([piece], read(piece.part, [piece])) for piece in pieces)],
            )
            for bucket in buckets
            for pieces in [bucket.pieces(counts[bucket.part.first - span.first :], MOST)]
        )


def _counts(connection: duckdb.DuckDBPyConnection, work: SampleWork, span: Range) -> np.ndarray:
    """Make ready what `features` says of a span; returns how often each of its features fires."""
    parts = overlapping(work.lake.parts(work.features, "features"), span)
    described = query.rows(connection, "sample_counts", features=parts, **span._asdict())
    connection.register("described", described)
    return described["firings"].to_numpy()


def _words(connection: duckdb.DuckDBPyConnection, work: SampleWork) -> Text:
    """Make ready the text of the cache and its documents."""
    words = text(work)
    connection.register("texts", words.windows)
    query.run(
        connection,
        "sample_segments",
        tokens=work.lake.parts(work.tokens, "tokens"),
        length=work.sequence,
        apart=work.sampling.apart == "document",
    )
    return words


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
    words: Text,
    buckets: Sequence[Bucket],
    firings: Firings,
) -> Iterator[Drawn]:
    """Samples and contexts of each of some neighbouring buckets, or of a piece of one, drawn together."""
    sampling = work.sampling
    whole = joined(buckets)
    anywhere = activating.draw(connection, work, words, whole, firings.between(*whole.part))
    for role, other, kinds in (
        ("explain", "score", sampling.contrast),
        ("score", "explain", sampling.negatives),
    ):
        if kinds:
            query.run(connection, "sample_barred", window=sampling.window, other=other)
        for kind in kinds:
            non_activating.draw(connection, work, kind, role, anywhere)
    contexts = _numbered(query.rows(connection, "contexts", coder=work.coder))
    samples = query.rows(connection, "samples", SAMPLES)
    for part, *_ in buckets:
        some = words.spelled(between(contexts, *part), sampling.window)
        some = with_activations(some, firings.between(*part), work.sequence, sampling.window)
        yield Drawn(between(samples, *part), some)


def _numbered(contexts: pa.Table) -> pa.Table:
    """Contexts, sorted by feature, with the number of each within its feature."""
    feature = contexts["feature"].to_numpy()
    return contexts.append_column("context", [np.arange(len(feature)) - np.searchsorted(feature, feature)])


def _write(work: SampleWork, bucket: Bucket, drawn: Sequence[Drawn]) -> int:
    """Write what was drawn of a bucket, piece by piece; returns how many contexts."""
    samples, contexts = (pa.concat_tables(pieces) for pieces in zip(*drawn, strict=True))
    work.lake.write(SAMPLES, work.step.part("samples", bucket.part), samples)
    work.lake.write(CONTEXTS, work.step.part("contexts", bucket.part), contexts)
    return contexts.num_rows
