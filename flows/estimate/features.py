"""The features that an estimate counts requests with: how many a run will have, and a few examples of them.

Examples come from the lake's contexts where there are any. Before that, they are synthetic: windows of the corpus serve
as contexts, and the firing tokens are drawn at random, one per context and two in the strongest deciles; only the
lengths of their prompts are realistic. `pilot_sentence` proposes a run of a few of the run's features, which measures
the lengths of replies and whose replies the run reuses.
"""

import random
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from flows.config import (
    AllFeatures,
    FeaturesByDensity,
    ListedFeatures,
    RangeOfFeatures,
    RunConfig,
    SampledFeatures,
)
from flows.feature_selection import chosen
from flows.llm_stage import special_tokens
from flows.plan import CoderSteps, Plan
from storage import query
from storage.lake import Lake
from tasks.contexts.context import Context, Described, Feature
from tasks.contexts.special_tokens import SpecialTokens
from tasks.explain import sampled
from tasks.sampling import DECILES
from tasks.sampling.config import Sampling
from tasks.sampling.negatives.base import Kind

_TWICE = 5
"""Deciles in which two tokens fire. In tests/toy the mean falls from 1.9 in the strongest to 1.0 in the weakest."""

_LOWER = 0.8
"""Ratio between the peaks of a decile and of the one before it; in tests/toy from 0.7 of the largest to 0.09."""


def synthetic_feature(
    windows: Sequence[tuple[str, ...]], sampling: Sampling, feature: int, seed: int
) -> tuple[Feature, Feature]:
    """A feature with its explain-contexts and with its score-contexts; windows are used again where they run out."""
    draw = random.Random(f"{seed}/{feature}")  # noqa: S311  (a draw, not a secret)
    dealt = _dealt(windows, draw)
    explain = [
        _active(number, next(dealt), number * DECILES // sampling.explain, draw)
        for number in range(sampling.explain)
    ]
    score = [
        _active(number, next(dealt), number // sampling.per_decile, draw)
        for number in range(DECILES * sampling.per_decile)
    ]
    for role in (explain, score):
        silent = (kind for kind in sampling.negatives for _ in range(kind.n))
        role += [
            _silent(number, kind, next(dealt), draw) for number, kind in enumerate(silent, start=len(role))
        ]
    words = tuple(strings[len(strings) // 2] for strings in windows[:DECILES])
    about = Described(single_token=False, top_tokens=words, top_logits=words, bottom_logits=words)
    return Feature(feature, 1.0, tuple(explain), about), Feature(feature, 1.0, tuple(score), about)


def _dealt(windows: Sequence[tuple[str, ...]], draw: random.Random) -> Iterator[tuple[str, ...]]:
    while True:
        yield from draw.sample(windows, len(windows))


def _silent(number: int, kind: Kind, strings: tuple[str, ...], draw: random.Random) -> Context:
    """A silent window; where another feature fires in it, in a decile at random."""
    context = Context(number, kind.kind, None, strings, (0.0,) * len(strings))
    if not kind.others:
        return context
    rank = number % kind.others
    fires = _active(number, strings, draw.randrange(DECILES), draw)
    near = rank if kind.of_neighbours else None
    return replace(context, near=near, other=rank, other_activations=fires.activations)


def _active(number: int, strings: tuple[str, ...], decile: int, draw: random.Random) -> Context:
    activations = [0.0] * len(strings)
    peak = 0.7 * _LOWER**decile
    for place in draw.sample(range(len(strings)), 2 if decile < _TWICE else 1):
        activations[place] = peak
    return Context(number, "activating", decile, strings, tuple(activations))


PILOT_FEATURES = 20
"""Features that suffice to measure the length of replies within a few percent."""


def pilot_sentence(
    plan: Plan, command: str, readers: Sequence[str], features: Mapping[str, int]
) -> str | None:
    """The sentence with the command of a pilot; null for a run of at most `PILOT_FEATURES` features.

    `command` is the run's own, `readers` are those whose replies are guessed, and `features` says by coder how many
    there will be questions about.
    """
    if max(features.values(), default=0) <= PILOT_FEATURES:
        return None
    setting, among = _few(plan)
    described = ((name, plan.config.readers[name]) for name in readers)
    paid_twice = [name for name, reader in described if reader.remote and reader.cached_replies == "off"]
    if paid_twice:
        told = f"readers.{paid_twice[0]}.replies is off, so that they are paid twice"
    elif among:
        told = "the run takes its replies over"
    else:
        told = (
            "the run takes its replies over for features in its range of densities, which no cache tells yet"
        )
    return f"{PILOT_FEATURES} features measure it, and {told}: {command} --set {shlex.quote(setting)}"


def _few(plan: Plan) -> tuple[str, bool]:
    """The setting that chooses a few features, and whether they are certainly among the run's."""
    match features := plan.config.features:
        case SampledFeatures():
            return f"features.n={PILOT_FEATURES}", True
        case AllFeatures():
            return f"features={{choose: sample, n: {PILOT_FEATURES}}}", True
        case RangeOfFeatures(first=first):
            return f"features.end={first + PILOT_FEATURES}", True
        case ListedFeatures(features=listed):
            return f"features.features={_written(listed)}", True
        case FeaturesByDensity():
            coder = plan.coders[0]
            if not plan.lake.complete(coder.features):
                return f"features={{choose: sample, n: {PILOT_FEATURES}}}", False
            few = chosen(features, plan.lake, coder.features, plan.config.seed)
            return f"features={{choose: list, features: {_written(few)}}}", True


def _written(features: Sequence[int]) -> str:
    return str([*islice(dict.fromkeys(features), PILOT_FEATURES)])


COUNTED = 9
"""Example features; the first counts only as itself, since it finds the prefix cache empty and costs more."""

_SEQUENCES = 512
"""Most packed sequences that windows are cut from."""


class FeatureSample(NamedTuple):
    """How many features of a coder there will be, and examples of them."""

    features: int
    """How many features will be explained."""
    explain: list[Feature]
    """Example features with their explain-contexts."""
    score: list[Feature]
    """The same with their score-contexts."""
    source: str
    """Where the numbers come from, as a clause."""


def feature_sample(plan: Plan, coder: CoderSteps, width: int | None) -> FeatureSample:
    """Count a coder's features and get examples; `width` is its number of features, null where unknown."""
    lake = plan.lake
    if lake.complete(coder.contexts):
        return _drawn(lake, coder, special_tokens(plan))
    config, windows = plan.config, _windows(plan)
    pairs = [synthetic_feature(windows, config.sample, feature, config.seed) for feature in range(COUNTED)]
    explain, score = ([pair[role] for pair in pairs] for role in (0, 1))
    text = "windows of the corpus stand for contexts"
    if lake.complete(coder.features):
        return FeatureSample(
            _often_enough(plan, coder), explain, score, f"features that fire often enough, {text}"
        )
    return FeatureSample(
        _chosen(config, width), explain, score, f"every chosen feature is taken to be explained, {text}"
    )


def _drawn(lake: Lake, coder: CoderSteps, special: SpecialTokens) -> FeatureSample:
    """Examples from the sampled contexts."""
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
    places = range(0, len(explain), max(1, len(explain) // COUNTED))[:COUNTED]
    picked = [explain[i] for i in places], [score[i] for i in places]
    return FeatureSample(int(str(count)), *picked, f"the contexts of {len(places)} sampled features")


def _often_enough(plan: Plan, coder: CoderSteps) -> int:
    lake, config = plan.lake, plan.config
    with lake.connect() as connection:
        records = query.records(
            connection,
            "explicable",
            features=lake.parts(coder.features, "features"),
            chosen=chosen(config.features, lake, coder.features, config.seed),
            min_firings=config.sample.min_firings,
        )
    return int(str(records[0]["features"]))


def _chosen(config: RunConfig, width: int | None) -> int:
    """How many features the config chooses, as far as that is known without a cache."""
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
    """Windows of the corpus as token texts."""
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
    from tasks.activations.pack import packed_rows  # noqa: PLC0415

    rows = min(corpus.rows, _SEQUENCES)
    tokenizer = plan.config.subject.tokenizer()
    packed = packed_rows(corpus.documents(), tokenizer, corpus.sequence, rows, corpus.packing)
    for row in islice(packed, rows):
        yield list(row["strings"])  # pyright: ignore[reportArgumentType]  (rows are dictionaries of anything)
