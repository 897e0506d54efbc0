"""A lake with a run that has contexts, explanations and what its detection made of them."""

from collections.abc import Sequence

from flows.config import RunConfig
from storage.lake import Lake
from storage.layout import Range, Step
from storage.scores import scores
from storage.tables import CONTEXTS, EXPLANATIONS, JUDGEMENTS, SAMPLES, SCORES
from tests.flows.command import TINY
from tests.storage.sql.test_scores import record

ACTIVATING = 30
"""Contexts on which each feature fires; on as many more it is silent."""


def recorded_run(
    uri: str, features: int = 5, scorers: Sequence[object] = TINY["scorers"], per_part: int = 2
) -> Lake:
    """Make it in an empty place; each feature fires on words of its own."""
    lake = Lake(uri)
    config = RunConfig.model_validate({**TINY, "scorers": scorers, "lake": uri})
    drawn = Step("contexts", "demo", ("samples", "contexts"), {}, 1)
    explained = Step("explanations", "demo/exemplars", ("explanations",), {}, 1, (drawn,))
    parts = [Range(first, min(first + per_part, features)) for first in range(0, features, per_part)]
    for part in parts:
        numbers = range(*part)
        lake.write(
            SAMPLES, drawn.part("samples", part), SAMPLES.rows([_sample(number) for number in numbers])
        )
        contexts = [row for number in numbers for row in _contexts(number)]
        lake.write(CONTEXTS, drawn.part("contexts", part), CONTEXTS.rows(contexts))
        texts = [_explanation(number) for number in numbers]
        lake.write(EXPLANATIONS, explained.part("explanations", part), EXPLANATIONS.rows(texts))
    lake.commit(drawn, parts)
    lake.commit(explained, parts)
    judged = Step("judgements", "demo/exemplars/detection", ("judgements",), {}, 1, (explained,))
    scored = Step("scores", "demo/exemplars/detection", ("scores",), {}, 1, (judged,))
    for part in parts:
        rows = [row for number in range(*part) for row in _judgements(number)]
        lake.write(JUDGEMENTS, judged.part("judgements", part), JUDGEMENTS.rows(rows))
        with lake.connect() as connection:
            result = scores(
                connection,
                judgements=[lake.path(judged.part("judgements", part))],
                contexts=[lake.path(drawn.part("contexts", part))],
                samples=[lake.path(drawn.part("samples", part))],
            )
        lake.write(SCORES, scored.part("scores", part), result)
    lake.commit(judged, parts)
    lake.commit(scored, parts)
    steps = [
        {
            "stage": step.stage,
            "name": step.name,
            "fingerprint": step.fingerprint,
            "tables": list(step.tables),
            "folders": {table: step.folder(table) for table in step.tables},
            "manifest": step.manifest,
        }
        for step in (drawn, explained, judged, scored)
    ]
    lake.write_json(
        "runs/tiny.json", {"run": "tiny", "config": config.model_dump(mode="json"), "steps": steps}
    )
    return lake


def _sample(feature: int) -> dict[str, object]:
    return record(
        SAMPLES, coder="demo", feature=feature, status="sampled", max=4.0, windows=60, windows_total=900
    )


def _contexts(feature: int) -> list[dict[str, object]]:
    """Those for the explainer are the last two of each kind."""
    rows = []
    for number in range(2 * ACTIVATING + 4):
        fires = number % 2 == 0
        word = f" own{feature}" if fires else " other"
        strings = [f" c{number}", word, " and", f" d{feature}", " so", " on"]
        rows.append(
            record(
                CONTEXTS,
                coder="demo",
                feature=feature,
                context=number,
                role="score" if number < 2 * ACTIVATING else "explain",
                kind="activating" if fires else "random",
                decile=number % 10 if fires else None,
                strings=strings,
                activations=[0.0, 4.0 if fires else 0.0, 0.0, 0.0, 0.0, 0.0],
            )
        )
    return rows


def _explanation(feature: int) -> dict[str, object]:
    return record(
        EXPLANATIONS,
        coder="demo",
        feature=feature,
        explainer="exemplars",
        replicate=0,
        chosen=True,
        status="ok",
        text=f"The word own{feature}.",
    )


def _judgements(feature: int) -> list[dict[str, object]]:
    """Verdicts in questions of five, the more of them wrong the later the feature."""
    return [
        record(
            JUDGEMENTS,
            coder="demo",
            feature=feature,
            explainer="exemplars",
            replicate=0,
            control="none",
            explanation_of=feature,
            scorer="detection",
            context=number,
            request=f"{feature}/0/none/{number // 5}",
            truth=number % 2 == 0,
            verdict=(number % 2 == 0) != (number < 6 * feature),
            status="ok",
        )
        for number in range(2 * ACTIVATING)
    ]
