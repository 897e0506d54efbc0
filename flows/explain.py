"""contexts -> explanations. One task per bucket and explainer, many requests in flight inside it."""

from prefect import flow

from flows import record
from flows.asking import asked, each_bucket, opened
from flows.config import RunConfig
from flows.plan import Explaining, Plan
from flows.preflight import check_readers
from tasks.explain import ExplainWork, explain_bucket
from tasks.llm.request import Reader


@flow(name="explain", flow_run_name="{config.run} explain")
async def explain(config: RunConfig) -> None:
    """Let every explainer explain every sampled feature."""
    plan = Plan(config)
    await check_readers(plan, "explain")
    record.write(plan)
    unfinished = plan.unfinished("explain")
    todo = [explaining for explaining in plan.explanations if explaining.step in unfinished]
    async with opened(config, (explaining.explainer.reader for explaining in todo)) as readers:
        for explaining in todo:
            await _explain(plan, explaining, readers[explaining.explainer.reader])


async def _explain(plan: Plan, explaining: Explaining, reader: Reader) -> None:
    explainer, coder = explaining.explainer, explaining.coder
    work = ExplainWork(
        lake=plan.lake,
        coder=coder.coder.name,
        step=explaining.step,
        contexts=coder.contexts,
        explainer=explainer,
        asked=asked(plan.config, coder.coder.name, "explain", explainer.name, explainer.reader),
    )
    await each_bucket(
        f"explanations by {explaining.step.name}",
        plan.lake,
        explaining.step,
        plan.lake.ranges(coder.contexts),
        lambda part: explain_bucket(work, part, reader),
        plan.config.runner.buckets_in_flight,
    )
