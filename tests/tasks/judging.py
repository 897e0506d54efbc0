"""The whole way from contexts and explanations in a lake to scores, with any scorer and any reader."""

import asyncio
from collections.abc import Mapping

from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import CONTEXTS, EXPLANATIONS, NO_EXPLAINER, SAMPLES
from tasks.contexts.context import Context
from tasks.controls import Controls
from tasks.llm.base import Reader
from tasks.llm.request_log import RequestOrigin
from tasks.score import ScoreWork, judge_bucket, score_bucket
from tasks.scorers import Scorer
from tests.storage.sql.test_scores import record

CODER = "toy"


def judge(
    lake: Lake,
    features: Mapping[int, tuple[str, list[Context]]],
    scorer: Scorer,
    reader: Reader,
    controls: int = 0,
    windows: int = 25,
    unexplained: int = 0,
) -> tuple[list[dict], list[dict], list[dict]]:
    """Judgements, scores and requests for features with their explanations and score-contexts.

    Each fires in so many `windows` of a hundred.
    """
    part = Range(0, max(features) + 1)
    contexts = Step("contexts", CODER, ("contexts", "samples"), {}, 1)
    explanations = Step("explanations", f"{CODER}/e", ("explanations",), {}, 1, (contexts,))
    explainer = "e" if scorer.needs_explanation else NO_EXPLAINER
    name = f"{CODER}/{explainer}/{scorer.name}"
    parent = explanations if scorer.needs_explanation else contexts
    judged = Step("judgements", name, ("requests", "judgements"), scorer.model_dump(), 1, (parent,))
    scores = Step("scores", name, ("scores",), {}, 1, (judged,))
    _write(lake, features, part, contexts, explanations, windows)
    work = ScoreWork(
        lake=lake,
        coder=CODER,
        explainer=explainer,
        judgements=judged,
        scores=scores,
        contexts=contexts,
        explanations=explanations if scorer.needs_explanation else None,
        scorer=scorer,
        controls=Controls(controls, unexplained),
        seed=22,
        asked=RequestOrigin(CODER, "score", f"{explainer}/{scorer.name}", scorer.reader),
    )
    asyncio.run(judge_bucket.fn(work, part, reader))
    lake.commit(judged, [part])
    score_bucket.fn(work, part)
    lake.commit(scores, [part])
    tables = (("judgements", judged), ("scores", scores), ("requests", judged))
    result = [lake.read(table, lake.parts(step, table)).to_pylist() for table, step in tables]
    return result[0], result[1], result[2]


def _write(
    lake: Lake,
    features: Mapping[int, tuple[str, list[Context]]],
    part: Range,
    contexts: Step,
    explanations: Step,
    fired: int,
) -> None:
    shown, samples, texts = [], [], []
    for feature, (text, windows) in sorted(features.items()):
        about = {"coder": CODER, "feature": feature, "explainer": "e", "replicate": 0}
        samples.append(record(SAMPLES, **about, status="sampled", max=10.0, windows=fired, windows_total=100))
        texts.append(record(EXPLANATIONS, **about, status="ok", text=text))
        for window in windows:
            drawn = {"strings": list(window.strings), "activations": list(window.activations)}
            named = {
                "context": window.context,
                "kind": window.kind,
                "decile": window.decile,
                "near": window.near,
                "role": "score",
            }
            shown.append(record(CONTEXTS, **about, **drawn, **named))
    lake.write(CONTEXTS, contexts.part("contexts", part), CONTEXTS.rows(shown))
    lake.write(SAMPLES, contexts.part("samples", part), SAMPLES.rows(samples))
    lake.write(EXPLANATIONS, explanations.part("explanations", part), EXPLANATIONS.rows(texts))
    lake.commit(contexts, [part])
    lake.commit(explanations, [part])
