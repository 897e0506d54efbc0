"""One bucket of features: contexts -> explanations and requests. The explainer and the reader do the work."""

from dataclasses import dataclass

import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import EXPLANATIONS, REQUESTS
from tasks.contexts.context import Feature, features
from tasks.explainers import Explainer
from tasks.explainers.base import explanation
from tasks.llm.gather import ask_all
from tasks.llm.ledger import Asked, check_answered, request_rows
from tasks.llm.request import Outcome, Reader
from tasks.retries import unless_refused


@dataclass(frozen=True)
class ExplainWork:
    """What one explainer at work on one coder needs, the same for each bucket."""

    lake: Lake
    coder: str
    step: Step
    contexts: Step
    explainer: Explainer
    asked: Asked


@task(
    name="explain",
    task_run_name="explain {work.step.name} {part.first}-{part.end}",
    retries=1,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
async def explain_bucket(work: ExplainWork, part: Range, reader: Reader) -> int:
    """Explain the sampled features of a bucket; returns how many explanations were asked for."""
    shown = sampled(work.lake, work.contexts, part, "explain")
    requests = {
        request.key: (feature, request)
        for feature in shown
        for request in work.explainer.requests(f"{feature.feature}/0", feature)
    }
    outcomes = await ask_all(reader, (request for _, request in requests.values()))
    check_answered(outcomes, work.step.name)
    if work.lake.exists(work.step.part("explanations", part)):
        return 0  # another process was faster, and what it wrote may be judged already
    owner = {key: feature.feature for key, (feature, _) in requests.items()}
    rows = [_row(work, owner[outcome.request.key], outcome) for outcome in outcomes]
    work.lake.write(
        REQUESTS, work.step.part("requests", part), REQUESTS.rows(request_rows(work.asked, outcomes))
    )
    work.lake.write(EXPLANATIONS, work.step.part("explanations", part), EXPLANATIONS.rows(rows))
    return len(rows)


def sampled(lake: Lake, contexts: Step, part: Range, role: str) -> list[Feature]:
    """The sampled features of a bucket with their contexts of one role."""
    rows = lake.read("contexts", [lake.path(contexts.part("contexts", part))])
    samples = lake.read("samples", [lake.path(contexts.part("samples", part))])
    return features(rows.filter(pc.field("role") == role), samples.filter(pc.field("status") == "sampled"))


def _row(work: ExplainWork, feature: int, outcome: Outcome) -> dict[str, object]:
    found = explanation(work.explainer, outcome)
    usage = outcome.reply.usage if outcome.reply else None
    return {
        "coder": work.coder,
        "feature": feature,
        "explainer": work.explainer.name,
        "replicate": 0,
        "text": found.text,
        "status": "failed" if found.text is None else "ok",
        "reason": found.reason,
        "reader": work.explainer.reader,
        "model": outcome.model,
        "prompt_hash": outcome.request.digest,
        "seed": work.explainer.seed,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
    }
