"""One bucket of features: activations -> contexts and samples. DuckDB does the work; see `storage/sql/`."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import CONTEXTS, SAMPLES
from tasks.contexts.sampling import DECILES, Sampling


@dataclass(frozen=True)
class SampleWork:
    """What sampling one coder needs, the same for each of its buckets."""

    lake: Lake
    coder: str
    step: Step
    tokens: Step
    activations: Step
    features: Step
    sampling: Sampling
    sequence: int
    """Tokens per sequence."""
    seed: int


@task(
    name="sample",
    task_run_name="sample {work.coder} {part.first}-{part.end}",
    retries=2,
    cache_policy=NO_CACHE,
)
def sample_bucket(work: SampleWork, part: Range, chosen: Sequence[int]) -> int:
    """Draw the contexts of the chosen features of a bucket; returns how many."""
    lake, sampling = work.lake, work.sampling
    tokens = lake.parts(work.tokens, "tokens")
    size = {"sequences": lake.rows(work.tokens, "tokens"), "slots": work.sequence // sampling.window}
    bounds = {"first": part.first, "end": part.end, "chosen": list(chosen)}
    with lake.connect(threads=1) as connection:
        query.run(
            connection,
            "sample_firings",
            activations=lake.parts(work.activations, "activations"),
            window=sampling.window,
            **bounds,
        )
        query.run(connection, "sample_windows", window=sampling.window, seed=work.seed)
        query.run(
            connection,
            "sample_drawable",
            coder=work.coder,
            features=lake.parts(work.features, "features"),
            min_firings=sampling.min_firings,
            min_windows=2 * DECILES,
            negatives=sum(kind.n for kind in sampling.negatives),
            **size,
            **bounds,
        )
        query.run(connection, "sample_activating", explain=sampling.explain, score=sampling.per_decile)
        for kind in sampling.negatives:
            query.run(connection, f"negatives_{kind.kind}", n=kind.n, seed=work.seed, **size)
        contexts = query.rows(
            connection, "contexts", CONTEXTS, coder=work.coder, tokens=tokens, window=sampling.window
        )
        samples = query.rows(connection, "samples", SAMPLES)
    lake.write(SAMPLES, work.step.part("samples", part), samples)
    lake.write(CONTEXTS, work.step.part("contexts", part), contexts)
    return contexts.num_rows
