"""corpus + subject model + coders -> tokens, activations, features. One task per shard, then one per bucket."""

from prefect import flow

from flows.config import RunConfig
from flows.plan import Plan
from flows.preflight import check_cache, handed_on
from flows.progress import say


@flow(name="cache", flow_run_name="{config.run} cache")
def cache(config: RunConfig) -> None:
    """Make what is missing of the cache, then commit it."""
    prepared = handed_on(config)
    plan = prepared.plan if prepared else Plan(config)
    if not plan.unfinished("cache"):
        return
    if not prepared:
        for line in check_cache(plan):
            say(line)
    # Local, since it loads torch, which a finished cache doesn't need.
    from flows.cache_stage import make_cache  # noqa: PLC0415

    make_cache(plan)
