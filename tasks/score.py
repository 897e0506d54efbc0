"""Prefect tasks on a bucket of features: contexts and explanations -> judgements, and judgements -> scores (by SQL)."""

from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.lake import Lake
from storage.layout import Range, Step
from storage.scores import scores
from storage.tables import JUDGEMENTS, REQUESTS, SCORES
from tasks.contexts.special_tokens import NONE, SpecialTokens
from tasks.controls import Controls, explanations, mixed_features
from tasks.explain import sampled
from tasks.llm.base import Reader
from tasks.llm.request_log import RequestOrigin, check_answered, request_rows
from tasks.retries import unless_refused
from tasks.scorers import Scorer, ask
from tasks.scorers.base import features_alone, judgement_rows, match_explanations


@dataclass(frozen=True)
class ScoreWork:
    """Inputs of one scorer on one explainer's explanations, or on features alone, the same for each bucket."""

    lake: Lake
    coder: str
    explainer: str
    judgements: Step
    scores: Step
    contexts: Step
    explanations: Step | None
    """None where the scorer needs none."""
    scorer: Scorer
    controls: Controls
    seed: int
    asked: RequestOrigin
    special: SpecialTokens = NONE
    """Of the subject's tokenizer."""


@task(
    name="judge",
    task_run_name="judge {work.judgements.name} {part.first}-{part.end}",
    retries=1,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
async def judge_bucket(work: ScoreWork, part: Range, reader: Reader) -> int:
    """Judge the explanations of a bucket; returns the number of verdicts, failed ones included."""
    lake, step = work.lake, work.judgements
    features = sampled(lake, work.contexts, part, "score", work.special)
    posed = (
        match_explanations(features, explanations(lake, work.explanations, part, work.controls, work.seed))
        if work.explanations
        else features_alone(features)
        + features_alone(
            mixed_features(lake, work.contexts, features, work.controls.shuffled, work.seed, work.special),
            "mixed",
        )
    )
    outcomes, owners = await ask.ask_scorer(work.scorer, posed, reader)
    check_answered(outcomes, step.name)
    about = {
        "coder": work.coder,
        "explainer": work.explainer,
        "scorer": work.scorer.name,
        "reader": work.scorer.reader,
    }
    rows = judgement_rows(work.scorer, outcomes, owners, about)
    if not lake.written(step, part):
        lake.write(REQUESTS, step.part("requests", part), REQUESTS.rows(request_rows(work.asked, outcomes)))
    if lake.exists(step.part("judgements", part)):
        return 0  # another process was faster, or only requests were lost
    lake.write(JUDGEMENTS, step.part("judgements", part), JUDGEMENTS.rows(rows))
    return len(rows)


@task(
    name="score",
    task_run_name="score {work.scores.name} {part.first}-{part.end}",
    retries=2,
    cache_policy=NO_CACHE,
)
def score_bucket(work: ScoreWork, part: Range) -> int:
    """Derive the scores of a bucket from its judgements; asks no reader."""
    lake = work.lake
    with lake.connect(threads=1) as connection:
        rows = scores(
            connection,
            judgements=[lake.path(work.judgements.part("judgements", part))],
            contexts=[lake.path(work.contexts.part("contexts", part))],
            samples=[lake.path(work.contexts.part("samples", part))],
            measure=getattr(work.scorer, "measure", None),
        )
    lake.write(SCORES, work.scores.part("scores", part), rows)
    return rows.num_rows
