"""activations -> contexts and samples. One task per span of buckets.

Where similar text is looked for, first: tokens -> embeddings, one task per block of sequences.
"""

from collections.abc import Sequence

import numpy as np
from prefect import flow
from prefect.futures import PrefectFuture

from flows import run_record
from flows.config import RunConfig
from flows.feature_selection import buckets, chosen
from flows.parts import Workers, firing_counts, make_parts, make_spans, spans, task_runner
from flows.plan import CoderSteps, Plan
from flows.preflight import check_choice, check_text_models, handed_on
from flows.repair import repair_lake
from storage.layout import Range
from tasks.embeddings import EmbedWork, embed_windows
from tasks.sample import sample_span
from tasks.sampling.negatives.base import BLOCK, SearchingKind, blocks
from tasks.sampling.work import Bucket, SampleWork


@flow(name="sample", flow_run_name="{config.run} sample")
def sample(config: RunConfig) -> None:
    """Draw the contexts of every coder's chosen features."""
    prepared = handed_on(config)
    plan = prepared.plan if prepared else Plan(config)
    unfinished = plan.unfinished("sample")
    if not prepared:
        check_choice(plan)
        check_text_models(plan)
    with task_runner(config.runner) as workers:
        run_record.record_run(plan)
        repair_lake(plan)
        for kind, step in plan.embeddings.items():
            if step in unfinished:
                _embed(plan, kind, workers)
        for coder in plan.coders:
            if coder.contexts in unfinished:
                _sample(plan, coder, workers)


def _embed(plan: Plan, kind: SearchingKind, workers: Workers) -> None:
    """Turn the windows that are searched into vectors, once for all coders."""
    config, lake = plan.config, plan.lake
    total, size = lake.rows(plan.tokens, "tokens"), BLOCK
    searched = blocks(total, kind.search, config.seed)
    work = EmbedWork(
        lake=lake,
        tokens=plan.tokens,
        step=plan.embeddings[kind],
        model=plan.embedding_models[kind],
        window=config.sample.window,
        sequence=config.corpus.sequence,
    )
    make_parts(
        "vectors of windows",
        lake,
        work.step,
        [Range(block * size, min((block + 1) * size, total)) for block in sorted(searched)],
        lambda part: workers.submit(embed_windows, work=work, part=part),
        workers.at_once,
    )


def _sample(plan: Plan, coder: CoderSteps, workers: Workers) -> None:
    config, lake = plan.config, plan.lake
    features = chosen(config.features, lake, coder.features, config.seed)
    firings = firing_counts(lake, coder.features)
    cut = buckets(features, len(firings), config.runner.bucket)
    work = SampleWork(
        lake=lake,
        coder=coder.coder.name,
        step=coder.contexts,
        tokens=plan.tokens,
        activations=coder.activations,
        features=coder.features,
        sampling=config.sample,
        sequence=config.corpus.sequence,
        seed=config.seed,
        memory=config.runner.memory,
        embeddings=plan.embeddings,
    )

    def begin(span: Sequence[Range]) -> PrefectFuture[int]:
        lacking = [Bucket(part, np.array(cut[part], np.int32)) for part in span]
        whole = Range(span[0].first, span[-1].end)
        return workers.submit(sample_span, work=work, span=whole, buckets=lacking)

    shards = len(lake.parts(coder.activations, "activations"))
    make_spans(
        f"contexts of {coder.coder.name}",
        lake,
        coder.contexts,
        spans(list(cut), firings, shards, workers.at_once),
        begin,
        workers.at_once,
    )
