"""corpus + subject model + coders -> tokens, activations, features. One task per shard, then one per bucket."""

from prefect import flow

from flows import record
from flows.config import RunConfig
from flows.parts import drain, make_parts
from flows.plan import Plan
from flows.preflight import check_cache
from flows.progress import progress, say
from storage.layout import Range, ranges
from tasks.activations.resident import forget
from tasks.cache import CacheWork, cache_shard, describe_features, write_tokens

FEATURES_AT_ONCE = 4096
"""Features whose decoder rows are multiplied with the unembedding at once."""


@flow(name="cache", flow_run_name="{config.run} cache")
def cache(config: RunConfig) -> None:
    """Make what is missing of the cache, then commit it."""
    plan = Plan(config)
    unfinished = plan.unfinished("cache")
    if not unfinished:
        return
    for line in check_cache(plan):
        say(line)
    record.write(plan)
    work = CacheWork(
        lake=plan.lake,
        subject=config.subject,
        corpus=config.corpus,
        shard=config.runner.shard,
        tokens=plan.tokens,
        coders=tuple((coder.coder, coder.activations, coder.features) for coder in plan.coders),
    )
    if plan.tokens in unfinished:
        with progress("packing the corpus", 1) as bar:
            made = write_tokens(work)
            bar.advance()
        if made < config.corpus.rows:
            say(f"the corpus has {made} of the {config.corpus.rows} sequences that corpus.tokens asks for")
    _activations(plan, work, plan.lake.ranges(plan.tokens))
    _features(plan, work)
    forget()


def _activations(plan: Plan, work: CacheWork, shards: list[Range]) -> None:
    steps = [coder.activations for coder in plan.coders]
    done = {coder.coder.name: plan.lake.done(coder.activations) for coder in plan.coders}
    lacking = {shard: [name for name, there in done.items() if shard not in there] for shard in shards}
    todo = {shard: names for shard, names in lacking.items() if names}
    if todo:
        with progress("forward passes and coders", len(todo)) as bar:
            # One at a time: a forward pass takes all cores (or the GPU), and memory stays bounded by one shard.
            drain((cache_shard.submit(work, shard, names) for shard, names in todo.items()), 1, bar)
    for step in steps:
        plan.lake.commit(step, shards)


def _features(plan: Plan, work: CacheWork) -> None:
    for coder in plan.coders:
        buckets = ranges(work.hooked[coder.coder.name].coder.width, FEATURES_AT_ONCE)
        name = coder.coder.name
        make_parts(
            f"features of {name}",
            plan.lake,
            coder.features,
            buckets,
            lambda bucket, name=name: describe_features.submit(work, name, bucket),
            1,
        )
