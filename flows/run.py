"""The whole pipeline in order. Each stage commits its tables, so that running again continues."""

from prefect import flow

from flows import leases, run_record
from flows.cache import cache
from flows.config import RunConfig
from flows.explain import explain
from flows.plan import STAGES
from flows.preflight import hand_on, prepare
from flows.reader_check import check_readers_skill
from flows.report import publish, report
from flows.report_setup import report_setup
from flows.report_warnings import known_checks
from flows.sample import sample
from flows.score import score


@flow(name="run", flow_run_name="{config.run}")
async def run(config: RunConfig) -> None:
    """Cache, sample, explain, score; what is committed is left alone.

    Raises `WrongRequest` before anything is written, `RunFailed` and what a task raised later on.
    """
    prepared = await prepare(config, STAGES)
    plan = prepared.plan
    with leases.scope(), hand_on(prepared):
        await check_readers_skill(plan, STAGES, prepared.findings)
        for stage in STAGES:
            if plan.unfinished(stage):
                await begin(stage, plan.config)
        run_record.record_run(plan)
        config = plan.config
        checks = await known_checks(plan)
        publish(report(plan.lake, config.run, config.seed, report_setup(config), checks))


async def begin(stage: str, config: RunConfig) -> None:
    """Run the flow of one stage."""
    match stage:
        case "cache":
            cache(config)
        case "sample":
            sample(config)
        case "explain":
            await explain(config)
        case _:
            await score(config)
