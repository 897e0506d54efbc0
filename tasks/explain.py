"""Prefect task that explains a bucket of features: contexts -> explanations and requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import EXPLANATIONS, REQUESTS
from tasks.contexts.context import Feature, descriptions, features
from tasks.contexts.special_tokens import NONE, SpecialTokens
from tasks.explainers import Explainer, best_of
from tasks.explainers.base import NOBODY, Explanation
from tasks.explainers.chat import ChatExplainer
from tasks.llm.base import Reader
from tasks.llm.request import Outcome
from tasks.llm.request_log import RequestOrigin, check_answered, finish_reason, request_rows
from tasks.retries import unless_refused


@dataclass(frozen=True)
class ExplainWork:
    """Inputs of one explainer on one coder, the same for each bucket."""

    lake: Lake
    coder: str
    step: Step
    features: Step
    contexts: Step
    explainer: Explainer
    asked: RequestOrigin | None
    """What its requests have in common; None where it makes none."""
    judged: RequestOrigin | None
    """The same of the requests that choose among replicates; None where all are kept."""
    special: SpecialTokens = NONE
    """Of the subject's tokenizer."""


@task(
    name="explain",
    task_run_name="explain {work.step.name} {part.first}-{part.end}",
    retries=1,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
async def explain_bucket(work: ExplainWork, part: Range, readers: Mapping[str, Reader]) -> int:
    """Explain the sampled features of a bucket; returns the number of explanations, failed ones included."""
    shown = sampled(work.lake, work.contexts, part, "explain", work.special)
    if work.explainer.needs_features:
        shown = described(work, part, shown)
    known = work.explainer.known(work.coder, shown)
    rows = [_known(work, feature, explanation) for feature, explanation in known.items()]
    requests: list[dict[str, object]] = []
    if work.explainer.asking and work.asked:
        unknown = [feature for feature in shown if feature.feature not in known]
        drawn, asked, judged = await _ask(work, work.explainer.asking, unknown, readers)
        rows += [_row(work, work.explainer.asking, replicate) for replicate in drawn]
        requests = request_rows(work.asked, asked) + (
            request_rows(work.judged, judged) if work.judged else []
        )
    requests.sort(key=lambda row: (row["feature"], row["request"]))
    rows.sort(key=lambda row: (row["feature"], row["replicate"]))
    if not work.lake.written(work.step, part):
        work.lake.write(REQUESTS, work.step.part("requests", part), REQUESTS.rows(requests))
    if work.lake.exists(work.step.part("explanations", part)):
        return 0  # another process was faster, or only the requests were lost: it may be judged already
    work.lake.write(EXPLANATIONS, work.step.part("explanations", part), EXPLANATIONS.rows(rows))
    return len(rows)


async def _ask(
    work: ExplainWork, asking: ChatExplainer, unknown: Sequence[Feature], readers: Mapping[str, Reader]
) -> tuple[list[best_of.Replicate], list[Outcome], list[Outcome]]:
    """The explanations of some features, and the requests that they and the choice among them took."""
    contexts = best_of.hold_out_all(asking, unknown)
    drawn = await best_of.ask_replicates(asking, contexts, readers[asking.reader])
    asked = [outcome for replicate in drawn for outcome in (*replicate.refused, replicate.outcome)]
    check_answered(asked, work.step.name)
    judged = await best_of.judge_replicates(asking, contexts, drawn, readers[asking.chooser])
    check_answered(judged, f"{work.step.name}, which choose among its replicates,")
    return best_of.choose_best(asking, drawn, judged), asked, judged


def sampled(lake: Lake, contexts: Step, part: Range, role: str, special: SpecialTokens) -> list[Feature]:
    """The sampled features of a bucket with their contexts of one role."""
    rows = lake.read("contexts", [lake.path(contexts.part("contexts", part))])
    samples = lake.read("samples", [lake.path(contexts.part("samples", part))])
    return features(
        rows.filter(pc.field("role") == role), samples.filter(pc.field("status") == "sampled"), special
    )


def described(work: ExplainWork, part: Range, shown: Sequence[Feature]) -> list[Feature]:
    """The same features with their descriptions from the table `features`."""
    parts = work.lake.parts(work.features, "features")
    with work.lake.connect(threads=1) as connection:
        by_feature = descriptions(
            query.records(connection, "described", features=parts, first=part.first, end=part.end),
            work.special,
        )
    return [replace(feature, described=by_feature[feature.feature]) for feature in shown]


def _known(work: ExplainWork, feature: int, explanation: Explanation) -> dict[str, object]:
    """The row of an explanation that needed no reader."""
    return _outcome_columns(work, feature, explanation) | {
        "replicate": 0,
        "chosen": explanation.text is not None,
        "held_out": None,
        "reader": NOBODY,
        "model": explanation.model,
        "shown": None,
        "prompt_hash": None,
        "seed": None,
        "prompt_tokens": None,
        "completion_tokens": None,
        "finish_reason": None,
    }


def _row(work: ExplainWork, asking: ChatExplainer, replicate: best_of.Replicate) -> dict[str, object]:
    """The row of an explanation that a reader gave, or failed to give."""
    usage = replicate.outcome.reply.usage if replicate.outcome.reply else None
    return _outcome_columns(work, replicate.feature, replicate.explanation) | {
        "replicate": replicate.number,
        "chosen": replicate.chosen,
        "held_out": replicate.held_out,
        "reader": asking.reader,
        "model": replicate.outcome.model,
        "shown": len(replicate.outcome.request.contexts),
        "prompt_hash": replicate.outcome.request.digest,
        "seed": replicate.outcome.request.seed,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "finish_reason": finish_reason(replicate.outcome),
    }


def _outcome_columns(work: ExplainWork, feature: int, explanation: Explanation) -> dict[str, object]:
    return {
        "coder": work.coder,
        "feature": feature,
        "explainer": work.explainer.name,
        "text": explanation.text,
        "structure": explanation.structure,
        "status": "failed" if explanation.text is None else "ok",
        "reason": explanation.reason,
    }
