"""The whole pipeline in order. Each stage commits its tables, so that running again continues."""

from prefect import flow

from flows import record
from flows.cache import cache
from flows.config import RunConfig
from flows.explain import explain
from flows.plan import STAGES, Plan
from flows.preflight import preflight
from flows.report import publish, report
from flows.sample import sample
from flows.score import score


@flow(name="run", flow_run_name="{config.run}")
async def run(config: RunConfig) -> None:
    """Cache, sample, explain, score; what is committed is left alone.

    Raises `WrongRequest` before anything is written, `RunFailed` and what a task raised later on.
    """
    await stages(config, STAGES)
    publish(report(Plan(config).lake, config.run, config.seed))


async def stages(config: RunConfig, wanted: tuple[str, ...]) -> None:
    """Run some stages in order; those that are complete are not even begun."""
    plan = Plan(config)
    await preflight(plan)
    record.begin(plan)
    for stage in wanted:
        if plan.unfinished(stage):
            await _begin(stage, config)
    if not plan.unfinished(*STAGES):
        record.finish(plan)


async def _begin(stage: str, config: RunConfig) -> None:
    match stage:
        case "cache":
            cache(config)
        case "sample":
            sample(config)
        case "explain":
            await explain(config)
        case _:
            await score(config)
