"""Small caches made by hand: tokens, activations and features as the cache stage leaves them, in several shards."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import numpy as np

from storage.lake import Lake
from storage.layout import Range, Step, ranges
from storage.tables import ACTIVATIONS, FEATURES, TOKENS
from tasks.sample import sample_span
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import Random
from tasks.sampling.work import Bucket, SampleWork
from tests.storage.toys import value

CODER = "toy"
LENGTH = 16
"""Tokens per sequence."""

Firings = dict[int, dict[tuple[int, int], float]]
"""By feature, then sequence and position."""


def steps() -> tuple[Step, Step, Step, Step]:
    """Tokens, activations, features, contexts."""
    tokens = Step("tokens", "corpus", ("tokens",), {}, 1)
    activations = Step("activations", CODER, ("activations",), {}, 1, (tokens,))
    features = Step("features", CODER, ("features",), {}, 1, (activations,))
    return tokens, activations, features, Step("contexts", CODER, ("contexts", "samples"), {}, 1, (features,))


@dataclass(frozen=True)
class Cache:
    """A coder's firings on a corpus of numbered tokens."""

    sequences: int
    width: int
    firings: Firings
    period: int | None = None
    """Sequences after which the text begins again; null: no two tokens are the same."""
    documents: tuple[int, ...] = (3 * LENGTH,)
    """Tokens per document, one after the other, and from the beginning again."""

    def token(self, sequence: int, position: int) -> int:
        """The token there."""
        return (sequence % (self.period or self.sequences)) * LENGTH + position

    def segments(self, sequence: int) -> list[tuple[int, int, int]]:
        """The parts of documents in a sequence: first position, end and document; the first one begins at 0."""
        before, document = sequence * LENGTH, 0
        rounds, before = divmod(before, sum(self.documents))
        document = rounds * len(self.documents)
        lengths = iter(cycle(self.documents))
        length = next(lengths)
        while before >= length:
            before, document, length = before - length, document + 1, next(lengths)
        result, at, rest = [], 0, length - before
        while at < LENGTH:
            end = min(LENGTH, at + rest)
            result.append((at, end, document))
            at, document, rest = end, document + 1, next(lengths)
        return result

    def write(self, lake: Lake, shards: int = 3) -> None:
        """Write and commit the three steps that sampling reads."""
        tokens, activations, features, _ = steps()
        cut = ranges(self.sequences, -(-self.sequences // shards))
        for shard in cut:
            lake.write(TOKENS, tokens.part("tokens", shard), TOKENS.rows(self._tokens(shard)))
            lake.write(
                ACTIVATIONS, activations.part("activations", shard), ACTIVATIONS.rows(self._fired(shard))
            )
        lake.write(FEATURES, features.part("features", Range(0, self.width)), FEATURES.rows(self._features()))
        lake.commit(tokens, cut)
        lake.commit(activations, cut)
        lake.commit(features, [Range(0, self.width)])

    def _tokens(self, shard: Range) -> list[dict[str, object]]:
        rows = []
        for sequence in range(*shard):
            ids = [self.token(sequence, position) for position in range(LENGTH)]
            parts = self.segments(sequence)
            rows.append(
                {
                    "sequence": sequence,
                    "tokens": ids,
                    "strings": [f"t{i}" for i in ids],
                    "documents": [document for _, _, document in parts],
                    # The first token of a sequence belongs to no document, as the tokenizer's own does.
                    "starts": [max(first, 1) for first, _, _ in parts],
                    "offsets": [0 for _ in parts],
                }
            )
        return rows

    def _fired(self, shard: Range) -> list[dict[str, object]]:
        return [
            {"coder": CODER, "feature": f, "sequence": s, "position": p, "activation": activation}
            for f, places in sorted(self.firings.items())
            for (s, p), activation in sorted(places.items())
            if shard.first <= s < shard.end
        ]

    def _features(self) -> list[dict[str, object]]:
        rows = []
        for feature in range(self.width):
            places = self.firings.get(feature, {})
            filled = {field.name: None if field.nullable else value(field.type) for field in FEATURES.schema}
            rows.append(
                filled
                | {
                    "coder": CODER,
                    "feature": feature,
                    "firings": len(places),
                    "max": max(places.values(), default=None),
                    "density": len(places) / (self.sequences * LENGTH),
                    "dead": not places,
                }
            )
        return rows


def drawn(
    seed: int,
    sequences: int,
    shares: Iterable[float],
    period: int | None = None,
    documents: tuple[int, ...] = (3 * LENGTH,),
) -> Cache:
    """A cache in which feature after feature fires in a share of the sequences, here and there.

    Activations are few eighths, so that ties are many and sums exact.
    """
    draw = random.Random(seed)
    firings: Firings = defaultdict(dict)
    shares = tuple(shares)
    for feature, share in enumerate(shares):
        for sequence in range(sequences):
            if draw.random() < share:
                for _ in range(draw.randint(1, 12)):
                    firings[feature][sequence, draw.randrange(LENGTH)] = draw.randint(1, 20) / 8
    return Cache(sequences, len(shares), dict(firings), period, documents)


def work(lake: Lake, sampling: Sampling, seed: int = 22) -> SampleWork:
    """How the flow asks for samples of a cache."""
    tokens, activations, features, contexts = steps()
    return SampleWork(lake, CODER, contexts, tokens, activations, features, sampling, LENGTH, seed)


def sample(
    asked: SampleWork, cut: Sequence[Range], chosen: Iterable[int], together: int | None = None
) -> None:
    """Sample the buckets of a cut as the flow does, `together` neighbours by one task; all by one if null."""
    wanted = np.array(sorted(chosen), np.int32)
    size = together or len(cut)
    for span in (cut[i : i + size] for i in range(0, len(cut), size)):
        buckets = [Bucket(part, wanted[(wanted >= part.first) & (wanted < part.end)]) for part in span]
        sample_span.fn(asked, Range(span[0].first, span[-1].end), buckets)


def sampling(
    *,
    window: int = 4,
    explain: int = 20,
    per_decile: int = 3,
    negatives: int = 20,
    min_firings: int = 20,
    apart: Literal["auto", "document", "window"] = "window",
    **others: Any,
) -> Sampling:
    """Sampling sizes that fit small caches."""
    return Sampling(
        window=window,
        explain=explain,
        per_decile=per_decile,
        negatives=(Random(n=negatives),),
        min_firings=min_firings,
        apart=apart,
        **others,
    )
