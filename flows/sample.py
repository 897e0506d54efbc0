"""activations -> contexts and samples. One task per bucket of features."""

from prefect import flow
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows import record
from flows.choose import buckets, chosen
from flows.config import RunConfig
from flows.plan import CoderSteps, Plan
from flows.progress import progress
from tasks.sample import SampleWork, sample_bucket


@flow(name="sample", flow_run_name="{config.run} sample", task_runner=ThreadPoolTaskRunner())  # pyright: ignore[reportCallIssue, reportArgumentType]
def sample(config: RunConfig) -> None:
    """Draw the contexts of every coder's chosen features."""
    plan = Plan(config)
    unfinished = plan.unfinished("sample")
    record.write(plan)
    for coder in plan.coders:
        if coder.contexts in unfinished:
            _sample(plan, coder)


def _sample(plan: Plan, coder: CoderSteps) -> None:
    config = plan.config
    features = chosen(config.features, plan.lake, coder.features, config.seed)
    width = plan.lake.rows(coder.features, "features")
    cut = buckets(features, width, config.runner.bucket)
    done = plan.lake.done(coder.contexts)
    todo = {bucket: inside for bucket, inside in cut.items() if bucket not in done}
    work = SampleWork(
        lake=plan.lake,
        coder=coder.coder.name,
        step=coder.contexts,
        tokens=plan.tokens,
        activations=coder.activations,
        features=coder.features,
        sampling=config.sample,
        sequence=config.corpus.sequence,
        seed=config.seed,
    )
    with progress(f"contexts of {coder.coder.name}", len(todo)) as bar:
        for future in as_completed(
            [sample_bucket.submit(work, part, list(inside)) for part, inside in todo.items()]
        ):
            future.result()
            bar.advance()
    plan.lake.commit(coder.contexts, list(cut))
