"""Non-activating contexts of a bucket, kind by kind: candidates in the kind's own order, of which the first are taken.

A kind gives candidates; one function, the same for all, takes those in which the feature is silent into `drawn`. Which
windows a feature gets never depends on who else is in its bucket.
"""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from storage import query
from tasks import similar_text
from tasks.contexts.anywhere import Anywhere, begin
from tasks.contexts.negatives import Cooccurring, Negatives, Random, SameToken, Silent, Similar, SimilarText
from tasks.sample_work import SampleWork
from tasks.searches import MORE, blocks, rounds, searching

OCCURRENCES = 4
"""Windows with a token that are looked at first, for every context that is asked for."""

FIRINGS = 1_000
"""Firings of a feature, at random, that say on which tokens and with which features it fires."""

NEAR = 1_000
"""Windows of a neighbour that are looked at, at random."""


def draw(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: Negatives,
    role: str,
    anywhere: Anywhere,
) -> None:
    """Add a kind's contexts for a role to the temporary table `drawn`, at most `kind.n` of each sampled feature.

    Needs the bucket's temporary tables `firings`, `fired`, `drawable`, `texts`, `barred` and `drawn`.
    """
    short = _short(connection, kind, role)
    asked, sequences = short["feature"].to_pylist(), anywhere.sequences
    match kind:
        case Random() | Silent():
            _anywhere(connection, work, kind, role, anywhere, short)
            return
        case SameToken():
            _same_token(connection, work, kind, sequences, asked)
        case Cooccurring() | Similar():
            _near(connection, work, kind, sequences, asked)
        case SimilarText():
            similar_text.offer(connection, work, kind, blocks(sequences, kind.search, work.seed), asked)
    _take(connection, work, kind, role, anywhere, query.rows(connection, "candidates"))


def _short(connection: duckdb.DuckDBPyConnection, kind: Negatives, role: str) -> pa.Table:
    """Sampled features that were given fewer of a kind than is asked for."""
    return query.rows(connection, "negatives_short", None, n=kind.n, kind=kind.kind, role=role)


def _take(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: Negatives,
    role: str,
    anywhere: Anywhere,
    candidates: pa.Table,
) -> None:
    """Take the first candidates of each feature in which it is silent, whatever the kind says."""
    connection.register("silent", anywhere.silent(candidates))
    query.run(connection, "negatives_take", n=kind.n, kind=kind.kind, role=role, window=work.sampling.window)


def _anywhere(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: Random | Silent,
    role: str,
    anywhere: Anywhere,
    short: pa.Table,
) -> None:
    """Some draws for all; for each of the features that come short with them, all windows."""
    quiet, start = isinstance(kind, Random), begin(work.seed, kind.kind, role)
    wanted = short.select(["feature", "quiet" if quiet else "silent"]).rename_columns(["feature", "silent"])
    _take(connection, work, kind, role, anywhere, anywhere.some(wanted, kind.n, start, quiet=quiet))
    for feature in _short(connection, kind, role)["feature"].to_pylist():
        _take(connection, work, kind, role, anywhere, anywhere.every(feature, start, quiet=quiet))


def _same_token(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: SameToken,
    sequences: int,
    asked: Sequence[int],
) -> None:
    query.run(
        connection,
        "negatives_same_token_wanted",
        asked=asked,
        tokens=work.lake.parts(work.tokens, "tokens"),
        sampled=FIRINGS,
        most=kind.tokens,
        seed=work.seed,
    )
    query.run(connection, "negatives_same_token_none")
    for again, searched in enumerate(rounds(blocks(sequences, kind.search, work.seed))):
        short = query.rows(connection, "negatives_same_token_short", n=kind.n)["feature"].to_pylist()
        if not short:
            break
        query.run(
            connection,
            "negatives_same_token_found",
            asked=short,
            places=OCCURRENCES * MORE**again * kind.n,
            window=work.sampling.window,
            length=work.sequence,
            seed=work.seed,
            **searching(work, work.tokens, "tokens", searched),
        )
    query.run(connection, "negatives_same_token", n=kind.n, seed=work.seed)


def _near(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: Cooccurring | Similar,
    sequences: int,
    asked: Sequence[int],
) -> None:
    searched = blocks(sequences, kind.search, work.seed)
    search = searching(work, work.activations, "activations", searched)
    if isinstance(kind, Cooccurring):
        query.run(
            connection,
            "cooccurring",
            asked=asked,
            neighbours=kind.neighbours,
            sampled=FIRINGS,
            seed=work.seed,
            **search,
        )
    else:
        features = work.lake.parts(work.features, "features")
        near = {"by": kind.by, "neighbours": kind.neighbours}
        query.run(connection, "negatives_similar", features=features, asked=asked, **near)
    query.run(
        connection,
        "negatives_near",
        each=-(-kind.n // kind.neighbours),
        most=NEAR,
        window=work.sampling.window,
        length=work.sequence,
        seed=work.seed,
        **search,
    )
