"""A toy feature, fixed for the snapshots, and readers of known skill."""

import json
import random
from collections.abc import Callable

from tasks.contexts.context import Feature
from tasks.contexts.written import context
from tasks.llm.request import Outcome, Reply, Request

LIGHTHOUSE = Feature(
    feature=7,
    max=8.0,
    contexts=tuple(
        context(written, number)
        for number, written in enumerate(
            [
                "the| light:4|house:8| keeper| slept",
                "a| far| light:1.5|house:6|\n|stood| <|<|there",
                'she| said| "|light:0.5|house:7|"| twice',
                "rows| of| bread| on| a| shelf",
                "the| harbour| was| empty| at| noon",
                "light| rain| fell| on| the| house",
            ]
        )
    ),
)


def reading(text: str, finish_reason: str = "stop") -> Reply:
    """A reply with this text."""
    return Reply(text, finish_reason=finish_reason)  # type: ignore[arg-type]


class Known:
    """A reader whose skill is known: it is told the truths and makes of them what it is asked to."""

    def __init__(self, verdict: Callable[[bool], bool]) -> None:
        self.verdict = verdict

    async def ask(self, request: Request) -> Outcome:
        text = json.dumps([int(self.verdict(truth)) for truth in request.truths])
        return Outcome(request, Reply(text), None, "here", "known", 1, 0.0)


def oracle() -> Known:
    """Always right."""
    return Known(lambda truth: truth)


def constant(verdict: bool) -> Known:
    """Always the same."""
    return Known(lambda _: verdict)


def coin(seed: int) -> Known:
    """Heads or tails."""
    draw = random.Random(seed)
    return Known(lambda _: draw.random() < 0.5)
