"""contexts + explanations -> judgements -> scores. One task per bucket and scorer."""

from prefect import flow

from flows import run_record
from flows.config import RunConfig
from flows.llm_stage import about, account_of, each_bucket, opened, score_work
from flows.parts import Workers, make_parts, task_runner
from flows.plan import Plan, Scoring
from flows.preflight import prepare
from flows.reader_check import check_readers_skill
from flows.repair import repair_lake
from storage.layout import Range
from tasks.llm.base import Reader
from tasks.llm.budget import Budget
from tasks.score import judge_bucket, score_bucket


@flow(name="score", flow_run_name="{config.run} score")
async def score(config: RunConfig) -> None:
    """Let every scorer judge every explanation or feature, and its control, then derive the scores."""
    prepared = await prepare(config, ("score",))
    plan = prepared.plan
    await check_readers_skill(plan, ("score",), prepared.findings)
    run_record.record_run(plan)
    repair_lake(plan)
    unfinished = plan.unfinished("score")
    todo = [scoring for scoring in plan.scores if {scoring.judgements, scoring.scores} & set(unfinished)]
    asking = [scoring for scoring in todo if scoring.judgements in unfinished]
    account = account_of(plan)
    names = [scoring.scorer.reader for scoring in asking]
    async with opened(plan.config, names, account, prepared.findings) as readers:
        for scoring in asking:
            await _judge(plan, scoring, readers[scoring.scorer.reader], account)
    with task_runner(plan.config.runner) as workers:
        for scoring in todo:
            _score(plan, scoring, workers)


async def _judge(plan: Plan, scoring: Scoring, reader: Reader, account: Budget) -> None:
    work = score_work(plan, scoring)

    async def judged(part: Range) -> int:
        async with about(scoring.judgements, part, (reader,)):
            return await judge_bucket(work, part, reader)

    await each_bucket(
        f"verdicts by {scoring.judgements.name}",
        plan.lake,
        scoring.judgements,
        plan.lake.ranges(work.contexts),
        judged,
        plan.config.runner.buckets_in_flight,
        account,
    )


def _score(plan: Plan, scoring: Scoring, workers: Workers) -> None:
    work = score_work(plan, scoring)
    make_parts(
        f"scores of {scoring.scores.name}",
        plan.lake,
        scoring.scores,
        plan.lake.ranges(work.judgements),
        lambda part: workers.submit(score_bucket, work=work, part=part),
        workers.at_once,
    )
