"""A scorer unlike the built-in ones, to show that the protocol carries it.

Intruder (paper 3.3), as verdicts: four contexts on which the feature fires and one on which it doesn't; which one does
not belong? All but the named one do.
"""

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Feature, context
from tasks.llm.base import Reader
from tasks.llm.request import Message, Outcome, Reply, Request, Unreadable
from tasks.scorers.base import Judgement, verdict_judgements
from tests.tasks.judging import judge


class Intruder(BaseModel):
    """Which context does not belong?"""

    needs_explanation: ClassVar[bool] = False

    kind: Literal["intruder"] = "intruder"
    name: str = "intruder"
    reader: str = "r"

    def requests(self, key: str, explanation: str, feature: Feature) -> list[Request]:
        """Four contexts that activate and one that does not, at a place that changes."""
        active = [context for context in feature.contexts if context.activating]
        silent = [context for context in feature.contexts if not context.activating]
        questions = []
        for number, intruder in enumerate(silent[: len(active) // 4]):
            group = active[4 * number : 4 * number + 4]
            group.insert(number % 5, intruder)
            texts = [render.text(context.strings) for context in group]
            questions.append(
                Request(
                    key=f"{key}/{number}",
                    messages=(Message("user", f"Which one is the intruder?\n\n{render.numbered(texts)}"),),
                    contexts=tuple(context.context for context in group),
                    truths=tuple(context.activating for context in group),
                )
            )
        return questions

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """A verdict on every context: all but the named one belong."""
        named = re.findall(r"\d+", reply.text)
        if len(named) != 1 or not 1 <= int(named[0]) <= len(request.contexts):
            msg = f"no single example is named in the reply to {request.key}"
            raise Unreadable(msg)
        return verdict_judgements(
            request, [place != int(named[0]) for place in range(1, len(request.contexts) + 1)]
        )


class Server(Reader):
    """A reader that finds the intruder in every second question."""

    async def ask(self, request: Request) -> Outcome:
        number = int(request.key.rsplit("/", 1)[1])
        reply = Reply(f"Example {request.truths.index(False) + 1 if number % 2 else 'unknown'}")
        return Outcome(request, reply, None, "here", "m", 1, 0.0)


CONTEXTS = [context("a:5| b| a:5", number) for number in range(8)] + [
    context("x| y| z", 8 + number) for number in range(3)
]
FEATURES = {3: ("The letter a.", CONTEXTS)}


def test_an_intruder_is_carried(tmp_path: Path) -> None:
    """One question about five contexts gives five verdicts, or five failures."""
    lake = Lake(tmp_path.as_posix())
    judgements, scores, _ = judge(lake, FEATURES, Intruder(), Server())  # type: ignore[arg-type]
    assert 10 == len(judgements) == len({row["context"] for row in judgements})
    assert {True: "ok", False: "failed"} == {
        row["request"].endswith("/1"): row["status"] for row in judgements
    }
    assert [(5, 5, 1.0)] == [(row["n"], row["n_failed"], row["balanced_accuracy"]) for row in scores]
