"""Non-activating contexts of a bucket, kind by kind: candidates in the kind's own order, of which the first are taken.

A kind gives candidates; one function, the same for all, takes those in which the feature is silent into `drawn`. Which
windows a feature gets never depends on who else is in its bucket.

Windows of the grid: in which of them features are silent, and some at random from all of the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from tasks.sampling import similar_text
from tasks.sampling.config import Cooccurring, Negatives, Random, SameToken, Silent, Similar, SimilarText
from tasks.sampling.firings import between, keys
from tasks.sampling.random_order import mixed
from tasks.sampling.work import GROWTH, SampleWork, blocks, rounds, searching

DRAWS_PER_WINDOW = 1.25
"""Draws that meet a window in which the feature is silent, on average, for each window that is wanted: some are met
twice, some texts too, and some windows were given before."""
SPARE = 20
"""Such draws beside these."""


@dataclass(frozen=True)
class Anywhere:
    """Where windows of some features may be drawn."""

    busy: pa.Table
    """One row per feature and sequence in which it fires, sorted by them."""
    fired: pa.Table
    """One row per feature and window of the grid in which it fires, sorted by `feature` and `origin`."""
    sequences: int
    """Of the cache."""
    length: int
    """Tokens of each."""
    window: int
    """Tokens of a window."""

    @property
    def slots(self) -> int:
        """Windows per sequence."""
        return self.length // self.window

    def silent(self, windows: pa.Table) -> pa.Table:
        """The windows, by `feature`, `sequence` and `start`, in which their feature is silent."""
        feature, sequence, start = (windows[name].to_numpy() for name in ("feature", "sequence", "start"))
        fired = keys(*(self.fired[name].to_numpy() for name in ("feature", "origin")))
        return windows.filter(~_among(keys(feature, sequence * self.length + start), fired))

    def some(self, wanted: pa.Table, n: int, start: np.uint64, *, quiet: bool) -> pa.Table:
        """Draws with replacement, so many as should give each feature of `wanted` `n` windows.

        `wanted` has `feature` and `silent`: the windows in which it is silent, with `quiet` those of sequences in
        which it is. With `quiet` only those are returned; else windows in which it fires may be among them.
        """
        total, silent = self.sequences * self.slots, np.maximum(1, wanted["silent"].to_numpy())
        turns = np.minimum(total, np.ceil((DRAWS_PER_WINDOW * n + SPARE) * (total / silent))).astype(np.int64)
        feature = np.repeat(wanted["feature"].to_numpy().astype(np.int64), turns)
        turn = np.arange(len(feature)) - np.repeat(np.cumsum(turns) - turns, turns)
        random = mixed(mixed(feature.astype(np.uint64) + start) + turn.astype(np.uint64))
        place = (random % np.uint64(total)).astype(np.int64)
        if quiet:
            busy = keys(*(self.busy[name].to_numpy() for name in ("feature", "sequence")))
            kept = ~_among(keys(feature, place // self.slots), busy)
            feature, turn, place = feature[kept], turn[kept], place[kept]
        return self._table(feature, place, turn.astype(np.uint64))

    def every(self, feature: int, start: np.uint64, *, quiet: bool) -> pa.Table:
        """All windows in which a feature is silent, with `quiet` those of sequences in which it is, at random."""
        silent = np.ones((self.sequences, self.slots), bool)
        if quiet:
            silent[between(self.busy, feature, feature + 1)["sequence"].to_numpy()] = False
        origin = between(self.fired, feature, feature + 1)["origin"].to_numpy()
        silent[origin // self.length, origin % self.length // self.window] = False
        place = np.flatnonzero(silent)
        random = mixed(mixed(np.array([feature], np.uint64) + start) + place.astype(np.uint64))
        return self._table(np.full(len(place), feature), place, random)

    def _table(self, feature: np.ndarray, place: np.ndarray, turn: np.ndarray) -> pa.Table:
        sequence, slot = np.divmod(place, self.slots)
        return pa.table(
            {
                "feature": feature.astype(np.int32),
                "sequence": sequence,
                "start": (slot * self.window).astype(np.int32),
                "turn": turn,
                "near": pa.nulls(len(place), pa.int32()),
                "distance": pa.nulls(len(place), pa.float32()),
            }
        )


def begin(*about: object) -> np.uint64:
    """Where the random numbers about some matter begin."""
    text = "/".join(str(one) for one in about)
    return np.uint64(int.from_bytes(sha256(text.encode()).digest()[:8], "little"))


def _among(values: np.ndarray, sorted_ones: np.ndarray) -> np.ndarray:
    """[n] bool: which values are among some that are sorted."""
    places = np.searchsorted(sorted_ones, values)
    inside = places < len(sorted_ones)
    inside[inside] = sorted_ones[places[inside]] == values[inside]
    return inside


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
            places=OCCURRENCES * GROWTH**again * kind.n,
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
