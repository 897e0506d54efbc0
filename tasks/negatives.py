"""Non-activating contexts of a bucket, kind by kind: candidates in the kind's own order, of which the first are taken.

A kind makes the temporary table `candidates`; one statement, the same for all, takes those that are silent into
`drawn`. Which windows a feature gets never depends on who else is in its bucket.
"""

from collections.abc import Mapping, Sequence

import duckdb

from storage import query
from tasks import similar_text
from tasks.contexts.negatives import Cooccurring, Negatives, Random, SameToken, Silent, Similar, SimilarText
from tasks.sample_work import SampleWork
from tasks.searches import MORE, blocks, rounds, searching

OCCURRENCES = 4
"""Windows with a token that are looked at first, for every context that is asked for."""

FIRINGS = 1_000
"""Firings of a feature, at random, that say on which tokens and with which features it fires."""

STRONGEST = 1_000
"""Windows of a neighbour that are looked at, the strongest."""


def draw(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: Negatives,
    role: str,
    size: Mapping[str, int],
) -> None:
    """Add a kind's contexts for a role to the temporary table `drawn`, at most `kind.n` of each sampled feature.

    `size` has the cache's `sequences` and the windows per sequence, `slots`. Needs the bucket's temporary tables
    `firings`, `busy`, `fired`, `drawable`, `texts`, `barred` and `drawn`.
    """
    asked = _short(connection, kind, role)
    match kind:
        case Random() | Silent():
            _anywhere(connection, work, kind, role, size, asked)
        case SameToken():
            _same_token(connection, work, kind, size, asked)
            _take(connection, work, kind, role)
        case Cooccurring() | Similar():
            _near(connection, work, kind, size, asked)
            _take(connection, work, kind, role)
        case SimilarText():
            searched = blocks(size["sequences"], kind.search, work.seed)
            similar_text.offer(connection, work, kind, searched, asked)
            _take(connection, work, kind, role)


def _short(connection: duckdb.DuckDBPyConnection, kind: Negatives, role: str) -> list[int]:
    """Sampled features that were given fewer of a kind than is asked for."""
    short = query.rows(connection, "negatives_short", n=kind.n, kind=kind.kind, role=role)
    return short["feature"].to_pylist()


def _take(connection: duckdb.DuckDBPyConnection, work: SampleWork, kind: Negatives, role: str) -> None:
    shape = {"window": work.sampling.window, "length": work.sequence}
    query.run(connection, "negatives_take", n=kind.n, kind=kind.kind, role=role, **shape)


def _anywhere(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: Random | Silent,
    role: str,
    size: Mapping[str, int],
    asked: Sequence[int],
) -> None:
    """Some draws for all; for the features that come short with them, all windows."""
    for every in (False, True):
        if not asked:
            return
        query.run(
            connection,
            "negatives_drawn",
            asked=asked,
            n=kind.n,
            every=every,
            quiet=isinstance(kind, Random),
            kind=kind.kind,
            role=role,
            window=work.sampling.window,
            seed=work.seed,
            **size,
        )
        _take(connection, work, kind, role)
        asked = _short(connection, kind, role)


def _same_token(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: SameToken,
    size: Mapping[str, int],
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
    for again, searched in enumerate(rounds(blocks(size["sequences"], kind.search, work.seed))):
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
    size: Mapping[str, int],
    asked: Sequence[int],
) -> None:
    searched = blocks(size["sequences"], kind.search, work.seed)
    search = searching(work, work.activations, "activations", searched)
    wanted = {"asked": asked, "neighbours": kind.neighbours}
    if isinstance(kind, Cooccurring):
        query.run(connection, "cooccurring", sampled=FIRINGS, seed=work.seed, **wanted, **search)
    else:
        features = work.lake.parts(work.features, "features")
        query.run(connection, "negatives_similar", features=features, by=kind.by, **wanted)
    query.run(
        connection,
        "negatives_near",
        each=-(-kind.n // kind.neighbours),
        strongest=STRONGEST,
        window=work.sampling.window,
        length=work.sequence,
        **search,
    )
