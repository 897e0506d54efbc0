"""All that the benchmark knows of gloss' sampling: which steps it reads and writes, and how a span is asked for."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.sample.cases import BUCKET, Span
from flows import parts as spans
from storage.lake import Lake
from storage.layout import Range, Step, ranges
from tasks.sample import Bucket, sample_span
from tasks.sampling.config import Sampling
from tasks.sampling.work import SampleWork

CODER = "zipf"
SEED = 22


class Cached(NamedTuple):
    """The steps of a cache."""

    tokens: Step
    activations: Step
    features: Step


def cached(sequences: int) -> Cached:
    """The steps of a cache of some sequences; longer ones begin with the same parts."""
    tokens = Step("tokens", "corpus", ("tokens",), {}, 1, (), {"sequences": sequences}, extends=True)
    activations = Step("activations", CODER, ("activations",), {}, 1, (tokens,), extends=True)
    return Cached(tokens, activations, Step("features", CODER, ("features",), {}, 1, (activations,)))


def work(lake: Lake, sequences: int, sequence: int, sampling: Mapping[str, Any], name: str) -> SampleWork:
    """What the flow hands to its tasks; another name writes elsewhere."""
    cache = cached(sequences)
    return SampleWork(
        lake=lake,
        coder=CODER,
        step=Step("contexts", CODER, ("samples", "contexts"), {"run": name}, 1, (cache.features,)),
        tokens=cache.tokens,
        activations=cache.activations,
        features=cache.features,
        sampling=Sampling.model_validate(sampling),
        sequence=sequence,
        seed=SEED,
    )


def firing_counts(lake: Lake, sequences: int) -> np.ndarray:
    """[width] int64: how often each feature of a cache of some sequences fires."""
    return spans.firing_counts(lake, cached(sequences).features)


def cut(lake: Lake, sequences: int, at_once: int) -> list[Span]:
    """All features of a cache of some sequences in spans, as the flow cuts them for so many tasks at a time."""
    firings = firing_counts(lake, sequences)
    parts = lake.parts(cached(sequences).activations, "activations")
    return spans.spans(ranges(len(firings), BUCKET), firings, len(parts), at_once)


def sample(asked: SampleWork, span: Span) -> int:
    """Sample all features of a span as a run's task does, without Prefect; returns the contexts."""
    buckets = [Bucket(part, np.arange(*part, dtype=np.int32)) for part in span]
    return sample_span.fn(asked, Range(span[0].first, span[-1].end), buckets)
