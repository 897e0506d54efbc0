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
from storage.tables import (
    ACTIVATIONS,
    DENSE,
    FEATURES,
    FIRST_POSITIONS,
    POSITIONAL,
    SINGLE_TOKEN,
    STRONG,
    TOKENS,
    TOP_TOKENS,
    UNIGRAM_TOKENS,
)
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
    **bounds: int,
) -> list[dict]:
    """The rows that features get."""
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        shards = shards_of(lake, firings, sequences, size)
        with lake.connect(threads) as connection:
            can_fire = [sequences] * LENGTH
            return feature_statistics(
                connection, "toy", part, shards, VOCABULARY, can_fire, **bounds
            ).to_pylist()


def entropy(firings: int, tokens: int) -> float:
    """Entropy of whether one of these tokens fires, in nats."""
    return -math.fsum(n / tokens * math.log(n / tokens) for n in (firings, tokens - firings) if n)


def position_information(places: Places, sequences: int) -> float:
    """Entropy of firing less its mean over positions, less the Miller-Madow correction."""
    at = Counter(position for _, position in places)
    given = math.fsum(entropy(at[position], sequences) for position in range(LENGTH)) / LENGTH
    tokens = sequences * LENGTH
    return max(0, entropy(len(places), tokens) - given - (LENGTH - 1) / (2 * tokens))


def strong_tokens(places: Places) -> int:
    """Tokens of the strongest firings, with those that are as strong as the weakest of these."""
    sizes = sorted((abs(activation) for activation in places.values()), reverse=True)
    least = sizes[math.ceil(round(STRONG * len(sizes), 9)) - 1]
    return len({token(*place) for place, activation in places.items() if abs(activation) >= least})


def by_hand(feature: int, places: Places, sequences: int) -> dict:
    """The same row from the definitions."""
    tokens = sequences * LENGTH
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
        "position_information": position_information(places, sequences),
        "distinct_tokens": len(spoken),
        "strong_tokens": strong_tokens(places),
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
        expected = by_hand(feature, firings.get(feature, {}), 6)
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
    """A single token begins at its share of the firings."""
    n = 20
    same = [(s, p) for s in range(40) for p in range(LENGTH) if token(s, p) == 3]
    other = [(s, p) for s in range(40) for p in range(LENGTH) if token(s, p) == 4]
    most = round(SINGLE_TOKEN * n)
    firings = {
        0: dict.fromkeys([*same[:most], *other[: n - most]], 1.0),
        1: dict.fromkeys([*same[: most - 1], *other[: n - most + 1]], 1.0),
    }
    rows = described(firings, sequences=40)
    assert [True, False, None] == [row["single_token"] for row in rows[:3]]


def test_too_dense_begins_above_its_share() -> None:
    """One firing more than the share makes a feature dense."""
    places = [(s, p) for s in range(10) for p in range(LENGTH)]
    most = round(DENSE * len(places))
    firings = {0: dict.fromkeys(places[:most], 1.0), 1: dict.fromkeys(places[: most + 1], 1.0)}
    assert [False, True] == [row["dense"] for row in described(firings, sequences=10, part=Range(0, 2))]


def test_positional_features_are_found_at_any_density() -> None:
    """Features of one position have all the information that there is, features of random places none, however rare."""
    sequences = 500
    rng = np.random.default_rng(22)

    def scattered(n: int) -> Places:
        flat = rng.choice(sequences * LENGTH, n, replace=False)
        return {(int(i) // LENGTH, int(i) % LENGTH): 1.0 for i in flat}

    at_seven = {(s, 7): 1.0 for s in range(sequences)}
    half = {(s, p): 1.0 for s in range(sequences) for p in range(LENGTH // 2)}
    firings = {0: at_seven, 1: half, 2: scattered(sequences), 3: scattered(20), 4: scattered(8000)}

    information = [row["position_information"] for row in described(firings, sequences=sequences, size=250)]

    chance = (LENGTH - 1) / (2 * sequences * LENGTH)
    assert [entropy(1, LENGTH) - chance, math.log(2) - chance] == pytest.approx(information[:2], abs=1e-6)
    assert information[0] > POSITIONAL
    assert all(0 <= nats < chance for nats in information[2:])


def test_unigram_features_are_found_among_noise() -> None:
    """A feature that is strong on two tokens has two strong ones, however many others it is weak on."""
    places = [(s, p) for s in range(40) for p in range(LENGTH)]
    two = [place for place in places if token(*place) in {3, 4}]
    others = [place for place in places if token(*place) not in {3, 4}][: len(two) // 4]
    planted = {place: 5.0 + place[0] for place in two} | dict.fromkeys(others, 0.1)
    even = {place: 1.0 + i / 64 for i, place in enumerate([*two, *others])}
    everywhere = {(s, p): 1.0 + (s * 31 + p * 7) % 997 for s, p in places}
    rows = described({0: planted, 1: even, 2: everywhere}, sequences=40)

    assert 2 == rows[0]["strong_tokens"]
    assert rows[0]["distinct_tokens"] > UNIGRAM_TOKENS / 2 > rows[0]["strong_tokens"]
    assert rows[1]["strong_tokens"] > 2
    assert rows[2]["strong_tokens"] > UNIGRAM_TOKENS


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
        feature_statistics(connection, "toy", Range(0, 1), [(a, d), (c, b)], VOCABULARY, [4] * LENGTH)


def test_a_token_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """A tokenizer that is not the corpus' one is found out."""
    lake = Lake(tmp_path.as_posix())
    shards = shards_of(lake, {0: {(1, 2): 1.0}}, 2, 2)
    with lake.connect() as connection, pytest.raises(duckdb.InvalidInputException, match="token 11 is not"):
        feature_statistics(connection, "toy", Range(0, 1), shards, VOCABULARY[:11], [2] * LENGTH)
