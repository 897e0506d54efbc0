"""What the estimate of a run's questions rests on: how many features there will be, and some of them to count with.

What the lake has already is taken from there; before that, features are made of the corpus' text.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from flows.choose import chosen
from flows.config import (
    AllFeatures,
    FeaturesByDensity,
    ListedFeatures,
    RangeOfFeatures,
    RunConfig,
    SampledFeatures,
)
from flows.plan import CoderSteps, Plan
from flows.work import special_tokens
from storage import query
from storage.lake import Lake
from tasks.contexts.context import Feature
from tasks.contexts.special_tokens import SpecialTokens
from tasks.contexts.typical import typical
from tasks.explain import sampled

COUNTED = 9
"""Features whose questions are counted; of the first one only how much dearer it is, for it finds the cache empty."""

_SEQUENCES = 512
"""Packed sequences that typical windows are cut from, at most."""


class Grounds(NamedTuple):
    """What is known of a coder's features before anyone is asked about them."""

    features: int
    """How many there will be questions about."""
    explain: list[Feature]
    """Some of them with their explain-contexts."""
    score: list[Feature]
    """The same with their score-contexts."""
    said: str
    """Where this is from, as a clause."""


def grounds(plan: Plan, coder: CoderSteps, width: int | None) -> Grounds:
    """What is known of a coder's features; `width` is how many it has, null where nobody knows."""
    lake = plan.lake
    if lake.complete(coder.contexts):
        return _drawn(lake, coder, special_tokens(plan))
    config, windows = plan.config, _windows(plan)
    pairs = [typical(windows, config.sample, feature, config.seed) for feature in range(COUNTED)]
    explain, score = ([pair[role] for pair in pairs] for role in (0, 1))
    text = "windows of the corpus stand for contexts"
    if lake.complete(coder.features):
        return Grounds(_often_enough(plan, coder), explain, score, f"features that fire often enough, {text}")
    return Grounds(
        _chosen(config, width), explain, score, f"every chosen feature is taken to be explained, {text}"
    )


def _drawn(lake: Lake, coder: CoderSteps, special: SpecialTokens) -> Grounds:
    """From the contexts that were drawn."""
    with lake.connect() as connection:
        samples = lake.parts(coder.contexts, "samples")
        count = query.records(connection, "sampled_count", samples=samples)[0]["features"]
    explain: list[Feature] = []
    score: list[Feature] = []
    for part in lake.ranges(coder.contexts):
        explain += sampled(lake, coder.contexts, part, "explain", special)
        score += sampled(lake, coder.contexts, part, "score", special)
        if len(explain) >= COUNTED:
            break
    some = range(0, len(explain), max(1, len(explain) // COUNTED))[:COUNTED]
    picked = [explain[i] for i in some], [score[i] for i in some]
    return Grounds(int(str(count)), *picked, f"the contexts of {len(some)} sampled features")


def _often_enough(plan: Plan, coder: CoderSteps) -> int:
    lake, config = plan.lake, plan.config
    with lake.connect() as connection:
        found = query.records(
            connection,
            "explicable",
            features=lake.parts(coder.features, "features"),
            chosen=chosen(config.features, lake, coder.features, config.seed),
            min_firings=config.sample.min_firings,
        )
    return int(str(found[0]["features"]))


def _chosen(config: RunConfig, width: int | None) -> int:
    """How many features the config chooses, as far as that can be said without a cache."""
    match config.features:
        case ListedFeatures(features=features):
            return len(set(features))
        case RangeOfFeatures(first=first, end=end):
            return end - first
        case SampledFeatures(n=n):
            return n
        case AllFeatures() | FeaturesByDensity():
            return width or 0


def _windows(plan: Plan) -> list[tuple[str, ...]]:
    """Windows of the corpus, as texts of their tokens."""
    size = plan.config.sample.window
    return [
        tuple(strings[start : start + size])
        for strings in _sequences(plan)
        for start in range(0, len(strings) - size + 1, size)
    ]


def _sequences(plan: Plan) -> Iterator[list[str]]:
    lake, corpus = plan.lake, plan.config.corpus
    if lake.complete(plan.tokens):
        yield from lake.read("tokens", lake.parts(plan.tokens, "tokens")[:1])["strings"].to_pylist()
        return
    # Local, for they load torch.
    from tasks.activations.pack import pack  # noqa: PLC0415

    rows = min(corpus.rows, _SEQUENCES)
    tokenizer = plan.config.subject.tokenizer()
    packed = pack(corpus.documents(), tokenizer, corpus.sequence, rows, corpus.packing)
    for row in islice(packed, rows):
        yield list(row["strings"])  # pyright: ignore[reportArgumentType]  (rows are dictionaries of anything)
