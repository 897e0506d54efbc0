"""The whole way from contexts in a lake to explanations, with any explainer and any readers."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import CONTEXTS, FEATURES, SAMPLES
from tasks.contexts.context import Feature
from tasks.explain import ExplainWork, explain_bucket
from tasks.explainers.chat import ChatExplainer
from tasks.explainers.imports import Import
from tasks.explainers.single_token import SingleToken
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request, Usage
from tasks.llm.request_log import RequestOrigin
from tests.storage.sql.test_scores import record

CODER = "toy"


@dataclass
class Fake(Reader):
    """A reader that answers what a function makes of the request; a null answer is a failure."""

    answer: Callable[[Request], str | None]
    model: str = "fake"
    finish_reason: Literal["stop", "length"] = "stop"
    asked: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Outcome:
        self.asked.append(request)
        text = self.answer(request)
        reply = None if text is None else Reply(text, self.finish_reason, Usage(7, 0, 3))
        return Outcome(request, reply, None if reply else "503: busy", "here", self.model, 1, 0.0)


def explain(
    lake: Lake,
    features: Iterable[Feature],
    explainer: ChatExplainer | SingleToken | Import,
    readers: Mapping[str, Reader],
) -> tuple[list[dict], list[dict]]:
    """Explanations and requests for features with their explain-contexts and descriptions."""
    part = Range(0, 100)
    described = Step("features", CODER, ("features",), {}, 1)
    contexts = Step("contexts", CODER, ("contexts", "samples"), {}, 1, (described,))
    name = f"{CODER}/{explainer.name}"
    step = Step("explanations", name, ("requests", "explanations"), explainer.identity(), 1, (contexts,))
    _write(lake, sorted(features, key=lambda item: item.feature), part, described, contexts)
    asking = explainer.asking
    work = ExplainWork(
        lake=lake,
        coder=CODER,
        step=step,
        features=described,
        contexts=contexts,
        explainer=explainer,  # type: ignore[arg-type]
        asked=RequestOrigin(CODER, "explain", explainer.name, asking.reader) if asking else None,
        judged=RequestOrigin(CODER, "explain", f"{explainer.name}/best_of", asking.chooser)
        if asking
        else None,
    )
    asyncio.run(explain_bucket.fn(work, part, readers))
    lake.commit(step, [part])
    tables = ("explanations", "requests")
    result = [lake.read(table, lake.parts(step, table)).to_pylist() for table in tables]
    return result[0], result[1]


def _write(lake: Lake, features: list[Feature], part: Range, described: Step, contexts: Step) -> None:
    shown, samples, rows = [], [], []
    for feature in features:
        own = {"coder": CODER, "feature": feature.feature}
        samples.append(record(SAMPLES, **own, status="sampled", max=feature.max))
        for context in feature.contexts:
            drawn = {
                "strings": list(context.strings),
                "activations": list(context.activations),
                "decile": context.decile,
            }
            shown.append(
                record(CONTEXTS, **own, **drawn, context=context.context, kind=context.kind, role="explain")
            )
        about = feature.described
        if about is not None:
            tokens = [
                {"token": 3, "string": context, "share": 0.1, "mean": 1.0} for context in about.top_tokens
            ]
            message: dict[str, object] = {"single_token": about.single_token, "top_tokens": tokens}
            for name in ("top_logits", "bottom_logits"):
                named = getattr(about, name)
                message[name] = (
                    None if named is None else [{"token": context, "logit": 1.0} for context in named]
                )
            rows.append(record(FEATURES, **own, **message))
    lake.write(CONTEXTS, contexts.part("contexts", part), CONTEXTS.rows(shown))
    lake.write(SAMPLES, contexts.part("samples", part), SAMPLES.rows(samples))
    lake.write(FEATURES, described.part("features", part), FEATURES.rows(rows))
    lake.commit(contexts, [part])
    lake.commit(described, [part])
