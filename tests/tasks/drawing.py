"""Small caches with repeated tokens and known neighbours, and what kinds of non-activating contexts draw on them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from storage.lake import Lake
from tasks import negatives
from tasks.contexts.negatives import Negatives
from tasks.contexts.peaks import Firings
from tasks.contexts.sampling import Sampling
from tests.tasks.caches import LENGTH, Cache, work
from tests.tasks.caches import drawn as drawn_cache

WINDOW = 4

INT, BIG, REAL = pa.int32(), pa.int64(), pa.float32()

DRAWN = {
    "feature": INT,
    "role": pa.string(),
    "kind": pa.string(),
    "decile": INT,
    "sequence": BIG,
    "start": INT,
    "peak": REAL,
    "place": BIG,
    "near": INT,
    "distance": REAL,
    "text": pa.uint64(),
}
"""Columns of the temporary table `drawn`, as sampling makes it."""


@dataclass(frozen=True)
class Worded(Cache):
    """A cache whose tokens are given, and whose features have known neighbours."""

    tokens: Mapping[tuple[int, int], int] = field(default_factory=dict)
    neighbours: Mapping[int, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """By feature, the nearest ones with their cosines."""

    def token(self, sequence: int, position: int) -> int:
        """The given token; 0 where none is given."""
        return self.tokens.get((sequence, position), 0)

    def text(self, sequence: int, start: int) -> tuple[int, ...]:
        """The tokens of a window."""
        return tuple(self.token(sequence, start + place) for place in range(WINDOW))

    def silent(self, feature: int, sequence: int, start: int) -> bool:
        """Whether the feature fires nowhere in a window."""
        fired = self.firings.get(feature, {})
        return not any((sequence, start + place) in fired for place in range(WINDOW))

    def _features(self) -> list[dict[str, object]]:
        return [
            row
            | {
                "neighbours": [
                    {"feature": near, "cosine": cosine}
                    for near, cosine in self.neighbours.get(int(str(row["feature"])), ())
                ]
            }
            for row in super()._features()
        ]


def worded(seed: int, sequences: int, shares: Sequence[float], vocabulary: int = 40) -> Worded:
    """Features that fire here and there, on a text of few words, each with every other one as a neighbour."""
    draw = random.Random(seed)
    cache = drawn_cache(seed, sequences, shares)
    places = [(sequence, position) for sequence in range(sequences) for position in range(LENGTH)]
    near = {
        feature: [(other, draw.randint(0, 8) / 8) for other in range(cache.width) if other != feature]
        for feature in range(cache.width)
    }
    tokens = {place: draw.randrange(vocabulary) for place in places}
    return Worded(cache.sequences, cache.width, cache.firings, tokens=tokens, neighbours=near)


def draw(
    lake: Lake,
    cache: Worded,
    kinds: Sequence[Negatives],
    features: Sequence[int] | None = None,
    *,
    given: Sequence[Mapping[str, object]] = (),
    barred: Sequence[Mapping[str, int]] = (),
    threads: int = 1,
    seed: int = 22,
) -> list[dict]:
    """What the kinds add to `drawn` for a bucket of features (all by default), in a total order.

    `given` are the rows that are in `drawn` before, `barred` the stretches that no context may touch.
    """
    chosen = range(cache.width) if features is None else features
    asked = work(lake, Sampling(window=WINDOW, negatives=tuple(kinds)), seed)
    size = {"sequences": cache.sequences, "slots": LENGTH // WINDOW}
    before = pa.Table.from_pylist(list(given), schema=pa.schema(list(DRAWN.items())))
    with lake.connect(threads=threads) as connection:
        firings = Firings.of(_firings(cache, chosen))
        tables = {
            "firings": firings.table(),
            "busy": firings.busy(),
            "fired": firings.fired(WINDOW, LENGTH),
            "drawable": _drawable(cache, chosen),
            "barred": pa.Table.from_pylist(
                list(barred), pa.schema([("feature", INT), ("sequence", BIG), ("first", INT), ("end", INT)])
            ),
            "drawn": before,
        }
        for name, rows in tables.items():
            connection.register(f"{name}_rows", rows)
            connection.execute(f"create temporary table {name} as select * from {name}_rows")
        connection.execute(
            "create temporary table texts as select sequence, (slot * $window)::integer as start, "
            "hash(tokens[slot * $window + 1:(slot + 1) * $window]) as text "
            "from read_parquet($tokens), range($slots) as slots (slot)",
            {
                "tokens": lake.parts(asked.tokens, "tokens"),
                "window": WINDOW,
                "slots": size["slots"],
            },
        )
        for kind in kinds:
            negatives.draw(connection, asked, kind, "score", size)
        rows = connection.execute("select * from drawn order by feature, kind, place").to_arrow_table()
    texts = {(row["feature"], row["sequence"], row["start"]) for row in given}
    return [row for row in rows.to_pylist() if (row["feature"], row["sequence"], row["start"]) not in texts]


def _drawable(cache: Worded, features: Sequence[int]) -> pa.Table:
    """What sampling knows of features that are all sampled."""
    slots = LENGTH // WINDOW
    fired = [cache.firings.get(feature, {}) for feature in features]
    n = len(fired)
    windows = [len({(sequence, position // WINDOW) for sequence, position in places}) for places in fired]
    busy = [len({sequence for sequence, _ in places}) for places in fired]
    return pa.table(
        {
            "feature": pa.array(features, INT),
            "status": ["sampled"] * n,
            "windows": pa.array(windows, BIG),
            "silent_windows": pa.array([slots * (cache.sequences - one) for one in busy], BIG),
            "windows_total": pa.array([slots * cache.sequences] * n, BIG),
        }
    )


def _firings(cache: Cache, features: Sequence[int]) -> pa.Table:
    rows = [
        (feature, sequence, position, activation)
        for feature in features
        for (sequence, position), activation in sorted(cache.firings.get(feature, {}).items())
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 4
    kinds = {"feature": INT, "sequence": BIG, "position": INT, "activation": REAL}
    return pa.table(
        {name: pa.array(column, kind) for (name, kind), column in zip(kinds.items(), columns, strict=True)}
    )
