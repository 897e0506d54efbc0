"""What the flow of the cache does where it is not finished: packs the corpus, and submits shards and features.

Loads torch.
"""

from collections.abc import Mapping
from dataclasses import replace

from flows import run_record
from flows.config import RunConfig
from flows.firing_counts import say_firing_counts
from flows.parts import Workers, make_parts, task_runner, unwritten, wait_for_all
from flows.plan import Plan
from flows.preflight import record_site_statistics
from flows.progress import progress, say
from flows.repair import repair_lake
from storage.layout import ranges
from tasks.activations import model_cache
from tasks.cache import CacheWork, cache_shard, describe_features, write_tokens

FEATURES_AT_ONCE = 4096
"""Features that one task describes, at least."""

FEATURE_PARTS = 32
"""Parts of `features` of a wide coder, at most: a row group of firings spans tens of thousands of its features, and
would be read again by each of many small parts."""


def make_cache(plan: Plan) -> None:
    """Make what a checked plan lacks of the cache, and commit it; models are loaded meanwhile, and let go."""
    config, unfinished = plan.config, plan.unfinished("cache")
    work = CacheWork(
        lake=plan.lake,
        subject=config.subject,
        corpus=config.corpus,
        shard=config.runner.shard,
        describing=config.describe,
        batch=config.runner.batch,
        tokens=plan.tokens,
        coders=tuple((coder.coder, coder.activations, coder.features) for coder in plan.coders),
    )
    widths = {
        coder.name: model_cache.loaded_coder(config.subject, coder).coder.width for coder in config.coders
    }
    try:
        with task_runner(config.runner) as workers:
            run_record.record_run(plan)
            work = replace(work, statistics=record_site_statistics(plan, model_cache.measured_statistics()))
            repair_lake(plan)
            if plan.tokens in unfinished:
                _tokens(work, config)
            if config.runner.kind == "dask":
                model_cache.evict_all()  # the workers load what they need, perhaps on this device
            _activations(plan, work, workers)
            _features(plan, work, workers, widths)
        say_firing_counts(plan.lake, config.run)
    finally:
        model_cache.evict_all()


def _tokens(work: CacheWork, config: RunConfig) -> None:
    with progress("packing the corpus", len(ranges(config.corpus.rows, config.runner.shard))) as bar:
        made = write_tokens(work, bar.advance)
    if made < config.corpus.rows:
        say(f"the corpus has {made} of the {config.corpus.rows} sequences that corpus.tokens asks for")


def _activations(plan: Plan, work: CacheWork, workers: Workers) -> None:
    lake, steps = plan.lake, [coder.activations for coder in plan.coders]
    shards = lake.ranges(plan.tokens)
    done = [lake.done(step) for step in steps]
    todo = [shard for shard in shards if any(shard not in there for there in done)]
    if todo:
        with progress("forward passes and coders", len(todo)) as bar:
            taken = unwritten(lake, steps, todo, bar)
            begun = (workers.submit(cache_shard, work=work, shard=shard) for shard in taken)
            wait_for_all(begun, workers.shards, bar)
    for step in steps:
        lake.commit(step, shards)


def _features(plan: Plan, work: CacheWork, workers: Workers, widths: Mapping[str, int]) -> None:
    for coder in plan.coders:
        name = coder.coder.name
        buckets = ranges(widths[name], max(FEATURES_AT_ONCE, -(-widths[name] // FEATURE_PARTS)))
        make_parts(
            f"features of {name}",
            plan.lake,
            coder.features,
            buckets,
            lambda bucket, name=name: workers.submit(describe_features, work=work, name=name, part=bucket),
            workers.shards,
        )
