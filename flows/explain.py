"""contexts -> explanations. One task per bucket and explainer, many requests in flight inside it."""

from collections.abc import Mapping

from prefect import flow

from flows import run_record
from flows.config import RunConfig
from flows.llm_stage import about, account_of, each_bucket, explain_work, opened
from flows.plan import Explaining, Plan
from flows.preflight import prepare
from flows.reader_check import check_readers_skill
from flows.repair import repair_lake
from storage.layout import Range
from tasks.explain import explain_bucket
from tasks.llm.base import Reader
from tasks.llm.budget import Budget


@flow(name="explain", flow_run_name="{config.run} explain")
async def explain(config: RunConfig) -> None:
    """Let every explainer explain every sampled feature."""
    prepared = await prepare(config, ("explain",))
    plan = prepared.plan
    await check_readers_skill(plan, ("explain",), prepared.findings)
    run_record.record_run(plan)
    repair_lake(plan)
    unfinished = plan.unfinished("explain")
    todo = [explaining for explaining in plan.explanations if explaining.step in unfinished]
    names = [name for explaining in todo for name in explaining.explainer.readers.values()]
    account = account_of(plan)
    async with opened(plan.config, names, account, prepared.findings) as readers:
        for explaining in todo:
            await _explain(plan, explaining, readers, account)


async def _explain(
    plan: Plan, explaining: Explaining, readers: Mapping[str, Reader], account: Budget
) -> None:
    coder, work = explaining.coder, explain_work(plan, explaining)

    async def explained(part: Range) -> int:
        async with about(explaining.step, part, readers.values()):
            return await explain_bucket(work, part, readers)

    await each_bucket(
        f"explanations by {explaining.step.name}",
        plan.lake,
        explaining.step,
        plan.lake.ranges(coder.contexts),
        explained,
        plan.config.runner.buckets_in_flight,
        account,
    )
