"""Small caches with repeated tokens and known neighbours, and what kinds of non-activating contexts draw on them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import EMBEDDINGS
from tasks.sampling.activating import CUTS
from tasks.sampling.config import Sampling
from tasks.sampling.firings import Firings
from tasks.sampling.held_firings import HeldFirings
from tasks.sampling.negatives import Negatives, SimilarText, base
from tasks.sampling.silent_windows import SilentWindows
from tasks.sampling.work import SampleWork
from tests.tasks.caches import LENGTH, Cache, steps, work
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
    "other": INT,
    "text": pa.uint64(),
}
"""Columns of the temporary table `drawn`, as sampling makes it."""


@dataclass(frozen=True)
class Worded(Cache):
    """A cache whose tokens are given, and whose features have known neighbours."""

    tokens: Mapping[tuple[int, int], int] = field(default_factory=dict)
    neighbours: Mapping[int, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """By feature, others with their cosines: of decoder rows; those of encoder rows are the same, negated."""
    vectors: Mapping[tuple[int, ...], Sequence[float]] = field(default_factory=dict)
    """By text, what a model makes of it."""

    def token(self, sequence: int, position: int) -> int:
        """The given token; 0 where none is given."""
        return self.tokens.get((sequence, position), 0)

    def text(self, sequence: int, start: int) -> tuple[int, ...]:
        """The tokens of a window."""
        return tuple(self.token(sequence, start + place) for place in range(WINDOW))

    def vector(self, text: tuple[int, ...]) -> np.ndarray:
        """[d] float16: the given vector of a text at length 1, or one at random that is always the same."""
        made = self.vectors.get(text)
        result = np.random.default_rng([7, *text]).normal(size=5) if made is None else np.array(made)
        return (result / np.linalg.norm(result)).astype(np.float16)

    def silent(self, feature: int, sequence: int, start: int) -> bool:
        """Whether the feature fires nowhere in a window."""
        fired = self.firings.get(feature, {})
        return not any((sequence, start + place) in fired for place in range(WINDOW))

    def _features(self) -> list[dict[str, object]]:
        return [
            row
            | {
                column: [
                    {"feature": near, "cosine": sign * cosine}
                    for near, cosine in self.neighbours.get(int(str(row["feature"])), ())
                ]
                for column, sign in (("neighbours", 1), ("encoder_neighbours", -1))
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


def embedded(lake: Lake, cache: Worded, asked: SampleWork) -> SampleWork:
    """Write what a model makes of the searched windows, and tell where it lies."""
    result = {}
    for kind in (*asked.sampling.contrast, *asked.sampling.negatives):
        if isinstance(kind, SimilarText):
            config = {"model": "toy", "search": kind.search}
            result[kind] = Step("embeddings", "corpus", ("embeddings",), config, 1, steps()[:1])
            searched = sorted(base.blocks(cache.sequences, kind.search, asked.seed))
            size = base.BLOCK
            parts = [Range(block * size, min((block + 1) * size, cache.sequences)) for block in searched]
            for part in parts:
                rows = EMBEDDINGS.rows(_vectors(cache, part))
                lake.write(EMBEDDINGS, result[kind].part("embeddings", part), rows)
            lake.commit(result[kind], parts)
    return replace(asked, embeddings=result)


def _vectors(cache: Worded, part: Range) -> list[dict[str, object]]:
    places = [(sequence, start) for sequence in range(*part) for start in range(0, LENGTH, WINDOW)]
    return [
        {"model": "toy", "sequence": s, "start": start, "vector": list(cache.vector(cache.text(s, start)))}
        for s, start in places
    ]


def toy_units(cache: Worded, texts: Sequence[str]) -> np.ndarray:
    """[n, d] float16: what the toy model makes of texts."""
    return np.stack([cache.vector(tuple(map(int, text.split("t")[1:]))) for text in texts])


def shown(cache: Worded, features: Sequence[int], each: int = 3) -> list[dict[str, object]]:
    """Rows of `drawn`: the first windows in which features fire, shown to the explainer."""
    rows = []
    for feature in features:
        fired = sorted({(s, p // WINDOW * WINDOW) for s, p in cache.firings.get(feature, {})})[:each]
        rows += [
            {
                "feature": feature,
                "role": "explain",
                "kind": "activating",
                "decile": 0,
                "sequence": sequence,
                "start": start,
                "peak": 1.0,
                "place": place,
                "text": 2**63 + place,  # the hash of no text: one of zeros alone has 0
            }
            for place, (sequence, start) in enumerate(fired)
        ]
    return rows


def draw(
    lake: Lake,
    cache: Worded,
    kinds: Sequence[Negatives],
    features: Sequence[int] | None = None,
    *,
    given: Sequence[Mapping[str, object]] = (),
    taken: Sequence[Mapping[str, int]] = (),
    threads: int = 1,
    seed: int = 22,
) -> list[dict]:
    """What the kinds add to `drawn` for a bucket of features (all by default), in a total order.

    `given` are the rows that are in `drawn` before, `taken` the stretches of documents that are the explainer's
    for a feature. Where similar text is drawn, `shown` are there as well.
    """
    chosen = range(cache.width) if features is None else features
    asked = embedded(
        lake, cache, work(lake, Sampling(window=WINDOW, min_firings=1, negatives=tuple(kinds)), seed)
    )
    given = [*given, *(shown(cache, chosen) if asked.embeddings else ())]
    before = pa.Table.from_pylist(list(given), schema=pa.schema(list(DRAWN.items())))
    with lake.connect(threads=threads) as connection:
        firings = Firings.of(_firings(cache, chosen))
        fired = firings.active_windows(WINDOW, LENGTH)
        silent = SilentWindows(firings, fired, cache.sequences, LENGTH, WINDOW)
        tables = {
            "firings": firings.table(),
            "fired": fired,
            "drawable": _drawable(cache, chosen),
            "segments": pa.Table.from_pylist(
                [{**row, "random": 0} for row in taken],
                pa.schema([("sequence", BIG), ("first", INT), ("end", INT), ("random", pa.uint64())]),
            ),
            "cuts": pa.Table.from_pylist([{**row, "last": 0} for row in taken], CUTS),
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
                "slots": silent.slots,
            },
        )
        held = HeldFirings(connection, lake.parts(asked.activations, "activations"), firings)
        pool = asked.pool(connection, "score", silent, asked.placing(), held)
        for kind in kinds:
            base.draw(pool, kind)
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
            "silent_windows": pa.array([slots * (cache.sequences - item) for item in busy], BIG),
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
