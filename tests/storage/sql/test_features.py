"""Statistics of features from firings and tokens, against sums done one by one."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import RunFailed
from storage.feature_statistics import feature_statistics
from storage.lake import Lake
from storage.layout import Range, ranges
from storage.tables import ACTIVATIONS, DENSE, FEATURES, FIRST_POSITIONS, SINGLE_TOKEN, TOKENS, TOP_TOKENS
from tests.storage.sql.test_scores import record

LENGTH = 40
"""Tokens per sequence: more than one piece, the last one not full."""
WIDTH = 5
EVERY = Range(0, WIDTH)
VOCABULARY = [f"<{token}>" for token in range(30)]

BY_WEIGHTS = {"top_logits", "bottom_logits", "neighbours", "encoder_neighbours"}
STATISTICS = [name for name in FEATURES.schema.names if name not in BY_WEIGHTS]

Places = dict[tuple[int, int], float]
"""Activations by sequence and position."""


def token(sequence: int, position: int) -> int:
    """The token there."""
    return (sequence * 7 + position * position) % len(VOCABULARY)


def shards_of(lake: Lake, firings: Mapping[int, Places], sequences: int, size: int) -> list[tuple[str, str]]:
    """Write a cache's two tables; the URIs of each shard's parts."""
    pairs = []
    for shard in ranges(sequences, size):
        tokens = [
            record(TOKENS, sequence=s, tokens=[token(s, p) for p in range(LENGTH)], strings=[""] * LENGTH)
            for s in range(*shard)
        ]
        firing = [
            record(ACTIVATIONS, coder="toy", feature=f, sequence=s, position=p, activation=activation)
            for f, places in sorted(firings.items())
            for (s, p), activation in sorted(places.items())
            if shard.first <= s < shard.end
        ]
        lake.write(ACTIVATIONS, f"a/{shard.name}", ACTIVATIONS.rows(firing))
        lake.write(TOKENS, f"t/{shard.name}", TOKENS.rows(tokens))
        pairs.append((lake.path(f"a/{shard.name}"), lake.path(f"t/{shard.name}")))
    return pairs


def described(
    firings: Mapping[int, Places],
    *,
    sequences: int = 6,
    size: int = 2,
    part: Range = EVERY,
    threads: int = 1,
    tokens: int | None = None,
    **bounds: int,
) -> list[dict]:
    """The rows that features get."""
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        shards = shards_of(lake, firings, sequences, size)
        with lake.connect(threads) as connection:
            can_fire = tokens or sequences * LENGTH
            return feature_statistics(
                connection, "toy", part, shards, VOCABULARY, can_fire, **bounds
            ).to_pylist()


def by_hand(feature: int, places: Places, tokens: int) -> dict:
    """The same row from the definitions."""
    row = {"coder": "toy", "feature": feature, "firings": len(places), "density": len(places) / tokens}
    bins = Counter(max(0, min(31, math.floor(math.log2(abs(a))) + 16)) for a in places.values())
    row |= {"histogram": [bins[b] for b in range(32)], "dead": not places, "dense": row["density"] > DENSE}
    if not places:
        return dict.fromkeys(STATISTICS) | row
    n, spoken = len(places), Counter(token(*place) for place in places)
    best = sorted(spoken, key=lambda t: (-spoken[t], t))[:TOP_TOKENS]
    positions = [position for _, position in places]
    return row | {
        "max": max(places.values()),
        "min": min(places.values()),
        "mean": math.fsum(places.values()) / n,
        "first_sequence": min(places)[0],
        "last_sequence": max(places)[0],
        "position_mean": np.mean(positions),
        "position_sd": np.std(positions),
        "first_positions": sum(position < FIRST_POSITIONS for position in positions) / n,
        "distinct_tokens": len(spoken),
        "top_tokens": [
            {
                "token": t,
                "string": f"<{t}>",
                "share": spoken[t] / n,
                "mean": math.fsum(a for place, a in places.items() if token(*place) == t) / spoken[t],
            }
            for t in best
        ],
        "top_token_share": spoken[best[0]] / n,
        "token_entropy": -math.fsum(count / n * math.log2(count / n) for count in spoken.values()),
        "single_token": spoken[best[0]] / n >= SINGLE_TOKEN,
    }


def close(expected: object, actual: object) -> bool:
    """Equal, numbers to six digits."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(close(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(close, expected, actual))
    if isinstance(expected, float) and isinstance(actual, float):
        return expected == pytest.approx(actual, rel=1e-6, abs=1e-6)
    return expected == actual


def fired(activation: st.SearchStrategy[float]) -> st.SearchStrategy[dict[int, Places]]:
    """Firings of some features."""
    place = st.tuples(st.integers(0, 5), st.integers(0, LENGTH - 1))
    return st.dictionaries(
        st.integers(0, WIDTH - 1), st.dictionaries(place, activation, min_size=1, max_size=40)
    )


EIGHTHS = st.integers(-200, 200).filter(bool).map(lambda eighths: eighths / 8)
ANY_SIZE = st.floats(-(2.0**40), 2.0**40, width=32).filter(lambda a: abs(a) > 2**-40)


@given(fired(EIGHTHS))
@settings(max_examples=20, deadline=None)
def test_statistics_are_the_definitions(firings: dict[int, Places]) -> None:
    """Every column of every feature, dead ones included, whatever the sign of its activations."""
    for feature, row in enumerate(described(firings)):
        expected = by_hand(feature, firings.get(feature, {}), 6 * LENGTH)
        assert close(expected, row), (expected, row)


@given(fired(ANY_SIZE), st.integers(1, 50), st.integers(1, 300), st.integers(1, 6), st.integers(0, WIDTH))
@settings(max_examples=20, deadline=None)
def test_bounds_threads_shards_and_parts_change_nothing(
    firings: dict[int, Places], at_once: int, tokens_at_once: int, size: int, cut: int
) -> None:
    """The same rows to the last bit however the work is cut."""
    pieces = [Range(0, cut), Range(cut, WIDTH)]
    bounds = {"firings_at_once": at_once, "tokens_at_once": tokens_at_once, "size": size, "threads": 2}
    assert described(firings) == [
        row for part in pieces if part.first < part.end for row in described(firings, part=part, **bounds)
    ]


def test_means_are_right_at_any_size() -> None:
    """Activations of a millionth of a millionth and of a million keep six digits, and signs cancel."""
    tiny = {(0, p): float(np.float32(1e-12 * (p + 1))) for p in range(1, 20)}
    large = {(0, p): float(np.float32(1e6 + p)) for p in range(1, 20)}
    signed = {(0, 1): 5.0, (0, 2): -3.0, (0, 3): -5.0}
    rows = described({0: tiny, 1: large, 2: signed})
    for row, places in zip(rows, (tiny, large, signed), strict=False):
        assert row["mean"] == pytest.approx(math.fsum(places.values()) / len(places), rel=1e-6)
    assert (5.0, -5.0, -1.0) == (rows[2]["max"], rows[2]["min"], rows[2]["mean"])
    filled = [{b: n for b, n in enumerate(row["histogram"]) if n} for row in rows[:3]]
    assert [{0: 19}, {31: 19}, {18: 2, 17: 1}] == filled


def test_flags_at_their_bounds() -> None:
    """Too dense begins above its share, a single token at its share."""
    n = 20
    same = [(s, p) for s in range(40) for p in range(LENGTH) if token(s, p) == 3]
    other = [(s, p) for s in range(40) for p in range(LENGTH) if token(s, p) == 4]
    most = round(SINGLE_TOKEN * n)
    firings = {
        0: dict.fromkeys([*same[:most], *other[: n - most]], 1.0),
        1: dict.fromkeys([*same[: most - 1], *other[: n - most + 1]], 1.0),
    }
    rows = described(firings, sequences=40, tokens=round(n / DENSE))
    assert [True, False, None] == [row["single_token"] for row in rows[:3]]
    assert [False, False] == [row["dense"] for row in rows[:2]]
    assert all(row["dense"] for row in described(firings, sequences=40, tokens=round(n / DENSE) - 1)[:2])


def test_equal_tokens_are_in_the_order_of_their_ids() -> None:
    """More tokens than are named, each with one firing: the lowest ids are named, and the entropy is theirs all."""
    one_each = {token(s, p): (s, p) for s in range(6) for p in range(LENGTH)}
    (row,) = described({0: dict.fromkeys(one_each.values(), 1.0)}, part=Range(0, 1))
    assert len(one_each) > TOP_TOKENS
    assert sorted(one_each)[:TOP_TOKENS] == [spoken["token"] for spoken in row["top_tokens"]]
    assert math.log2(len(one_each)) == pytest.approx(row["token_entropy"], abs=1e-6)


def test_parts_of_other_sequences_are_refused(tmp_path: Path) -> None:
    """A firing whose token lies in another shard's part would be lost."""
    lake = Lake(tmp_path.as_posix())
    (a, b), (c, d) = shards_of(lake, {0: {(0, 1): 1.0}}, 4, 2)
    with lake.connect() as connection, pytest.raises(RunFailed, match="other sequences"):
        feature_statistics(connection, "toy", Range(0, 1), [(a, d), (c, b)], VOCABULARY, 100)


def test_a_token_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """A tokenizer that is not the corpus' one is found out."""
    lake = Lake(tmp_path.as_posix())
    shards = shards_of(lake, {0: {(1, 2): 1.0}}, 2, 2)
    with lake.connect() as connection, pytest.raises(duckdb.InvalidInputException, match="token 11 is not"):
        feature_statistics(connection, "toy", Range(0, 1), shards, VOCABULARY[:11], 100)
