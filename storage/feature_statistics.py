"""The statistics columns of `features`, computed from a cache's parts in bounded memory."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import duckdb
import pyarrow as pa

from storage import query
from storage.errors import RunFailed
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import DENSE, FIRST_POSITIONS, SINGLE_TOKEN, STRONG, TOP_TOKENS

FIRINGS_AT_ONCE = 2**23
"""Firings whose tokens are counted at once, or those of one feature that has more; they take some 60 bytes each."""

TOKENS_AT_ONCE = 2**24
"""Tokens of the cache that firings are matched with at once, at some 6 bytes each."""


def feature_statistics(
    connection: duckdb.DuckDBPyConnection,
    coder: str,
    part: Range,
    shards: Sequence[tuple[str, str]],
    vocabulary: Sequence[str],
    can_fire: Sequence[int],
    *,
    firings_at_once: int = FIRINGS_AT_ONCE,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> pa.Table:
    """Rows of `features` [part.first, part.end), without the columns that come from decoder rows.

    `shards` has the URIs of each shard's parts: activations of the coder, tokens of the same sequences.
    `vocabulary` is the text of each token by its id, `can_fire` the number of tokens that can fire at each position of
    a sequence. The two bounds affect memory only. Raises `RunFailed` when two parts are of other sequences, and
    `duckdb.InvalidInputException` when a token is not in the vocabulary.
    """
    for pair in shards:
        if Range.of(pair[0]) != Range.of(pair[1]):
            msg = f"{pair[0]} and {pair[1]} are of other sequences, so firings have no tokens; run the cache again"
            raise RunFailed(msg)
    bounds = {"first": part.first, "end": part.end}
    activations = [shard for shard, _ in shards]
    query.run(connection, "feature_sizes", activations=activations, first_positions=FIRST_POSITIONS, **bounds)
    words = pa.table({"token": pa.array(range(len(vocabulary)), pa.int32()), "string": list(vocabulary)})
    connection.register("vocabulary", words)
    capacity = {
        "position": pa.array(range(len(can_fire)), pa.int32()),
        "tokens": pa.array(can_fire, pa.int64()),
    }
    connection.register("capacity", pa.table(capacity))
    cuts = [row["first"] for row in query.records(connection, "feature_cuts", firings=firings_at_once)]
    tables = []
    for first, end in pairwise([part.first, *cuts[1:], part.end]):
        stretch = {"activations": activations, "first": first, "end": end}
        query.run(connection, "feature_positions", **stretch)
        query.run(connection, "feature_strong", strong=STRONG, **stretch)
        query.run(connection, "feature_tokens_none")
        for group in _groups(shards, sum(can_fire), tokens_at_once):
            matched = {"activations": [a for a, _ in group], "tokens": [t for _, t in group]}
            query.run(connection, "feature_tokens", first=first, end=end, **matched)
        tables.append(
            query.rows(
                connection,
                "features",
                coder=coder,
                first=first,
                end=end,
                top_tokens=TOP_TOKENS,
                single_token=SINGLE_TOKEN,
                dense=DENSE,
            )
        )
    connection.unregister("vocabulary")
    connection.unregister("capacity")
    return pa.concat_tables(tables)


@lru_cache(maxsize=1)
def tokens_that_can_fire(uri: str, tokens: Step, bos: int | None, *, keep_bos: bool) -> Sequence[int]:
    """Number of tokens of a cache on which a feature may fire, by position in the sequence. Cached per process.

    `uri` is the lake's, `bos` the id of the beginning-of-sequence token, which is excluded unless `keep_bos`.
    """
    lake = Lake(uri)
    with lake.connect(threads=1) as connection:
        parts = lake.parts(tokens, "tokens")
        rows = query.records(connection, "tokens_that_fire", tokens=parts, bos=bos, keep_bos=keep_bos)
    return tuple(int(str(row["tokens"])) for row in rows)


def _groups(
    shards: Sequence[tuple[str, str]], tokens: int, tokens_at_once: int
) -> Iterator[Sequence[tuple[str, str]]]:
    """Consecutive shards with about `tokens_at_once` tokens together, or one shard with more."""
    size = max(1, len(shards) * tokens_at_once // max(1, tokens))
    for first in range(0, len(shards), size):
        yield shards[first : first + size]
