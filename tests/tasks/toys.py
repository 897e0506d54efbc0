"""Toy features, fixed for the snapshots, and readers of known skill."""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from math import log

from tasks.contexts import render
from tasks.contexts.context import Feature, context
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request, TokenLogprob

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


HARBOUR = Feature(
    feature=7,
    max=9.0,
    contexts=tuple(
        replace(context(written, number), **about)
        for number, (written, about) in enumerate(
            [
                ("the| light:4|house:8| keeper| slept", {"decile": 0}),
                ("no| light:6|house:9| stood| on| that| cape", {"decile": 0}),
                ('she| said| "|light:0.5|house:7|"| twice', {"decile": 0}),
                ("ships| steer| by| the| beacon:9| at| dusk", {"decile": 0}),
                ("a| far| light:1.5|house:6|\n|stood| there", {"decile": 0}),
                ("at| the| foot| of| the| tower:5| a| boat", {"decile": 3}),
                ("the| lamp:4|'s| long| beam:2| swept| past", {"decile": 3}),
                ("a| buoy:3| rang| all| night", {"decile": 3}),
                ("they| saw| the| beacon:2.5| go| out", {"decile": 3}),
                ("the| keeper| of| the| light:1", {"decile": 9}),
                ("rows| of| bread| on| a| shelf", {}),
                ("two| cups| of| flour| and| an| egg", {}),
                ("    return| first| +| second|\n", {}),
                ("he| paid| the| bill| and| left", {}),
                ("it| is| half| past| nine", {}),
                ("a| house| on| the| hill", {}),
                ("light| rain| fell| on| the| house", {}),
                ("under| the| bed| lay| a| shoe", {}),
                ("she| sang| to| the| child", {}),
                ("one| vote| short| of| a| law", {}),
                ("chapter| four|:| the| letter", {}),
                ("the| harbour| was| empty| at| noon", {"kind": "similar", "near": 3}),
                ("the| boat| left| the| harbour", {"kind": "similar", "near": 3}),
                ("a| sail| against| the| sun", {"kind": "similar", "near": 5}),
                ("they| hauled| the| sail| down", {"kind": "similar", "near": 5}),
                ("the| tide| had| turned", {"kind": "cooccurring", "near": 8}),
                ("gulls| on| the| pier", {"kind": "cooccurring", "near": 9}),
            ]
        )
    ),
)
"""Another with contexts of several deciles and kinds, some of them a neighbour's."""


class Known(Reader):
    """A reader whose skill is known: it is told what is right and makes of it what it is asked to.

    Where log-probabilities are asked for, it is sure of each answer to `sure`, and finds all others equally likely.
    """

    def __init__(
        self,
        verdict: Callable[[bool], bool],
        choose: Callable[[int, int], int] = lambda right, _: right,
        sure: float = 0.95,
    ) -> None:
        self.verdict, self.choose, self.sure = verdict, choose, sure

    async def ask(self, request: Request) -> Outcome:
        question = render.read_question(request.messages[-1].text)
        assert question is not None
        shown = len(question.examples)
        digits = ["0", "1"]
        if request.right is not None:
            text = str(self.choose(request.right, shown))
            digits = [str(number) for number in range(1, shown + 1)]
        else:
            verdicts = [int(self.verdict(truth)) for truth in request.truths]
            if question.named == "fitting":
                verdicts = [number for number, verdict in enumerate(verdicts, start=1) if verdict]
            text = json.dumps(verdicts)
        tokens = spelled(text, digits, self.sure) if request.top_logprobs else ()
        return Outcome(request, Reply(text, completion=tokens), None, "here", "known", 1, 0.0)


def spelled(text: str, digits: Sequence[str], sure: float) -> tuple[TokenLogprob, ...]:
    """The tokens of a reply, a digit with the blank before it, and how likely all digits were in its place."""
    tokens = []
    for piece in re.findall(r" ?[0-9]|[^0-9]", text):
        if piece[-1] in digits:
            unsure = log((1 - sure) / (len(digits) - 1))
            top = {piece[:-1] + digit: log(sure) if digit == piece[-1] else unsure for digit in digits}
        else:
            top = {piece: 0.0}
        tokens.append(TokenLogprob(piece, top[piece], top))
    return tuple(tokens)


def oracle(sure: float = 0.95) -> Known:
    """Always right."""
    return Known(lambda truth: truth, sure=sure)


def constant(verdict: bool) -> Known:
    """Always the same; the first, where one is to be chosen."""
    return Known(lambda _: verdict, lambda _, __: 1)


def coin(seed: int) -> Known:
    """Heads or tails."""
    draw = random.Random(seed)
    return Known(lambda _: draw.random() < 0.5, lambda _, shown: draw.randint(1, shown))


def erring(seed: int, rate: float, sure: float = 0.95) -> Known:
    """An oracle that errs at a rate; then any of the wrong choices is as likely."""
    draw = random.Random(seed)

    def choose(right: int, shown: int) -> int:
        wrong = [number for number in range(1, shown + 1) if number != right]
        return draw.choice(wrong) if draw.random() < rate else right

    return Known(lambda truth: truth != (draw.random() < rate), choose, sure)


def inverse(sure: float = 0.95) -> Known:
    """Always wrong: names the one after the right one, where one is to be chosen."""
    return Known(lambda truth: not truth, lambda right, shown: right % shown + 1, sure)


class Placed(Known):
    """A reader that says yes to the first example of a question and no to the others, whatever they are."""

    def __init__(self) -> None:
        super().__init__(lambda _: next(self.verdicts), lambda _, __: 1)

    async def ask(self, request: Request) -> Outcome:
        self.verdicts = (place == 0 for place in count())
        return await super().ask(request)


class Moody(Known):
    """An oracle that has all of a question wrong at a rate; any of the wrong choices is as likely then."""

    def __init__(self, seed: int, rate: float) -> None:
        self.draw, self.rate, self.wrong = random.Random(seed), rate, False
        super().__init__(lambda truth: truth != self.wrong, self._choose)

    async def ask(self, request: Request) -> Outcome:
        self.wrong = self.draw.random() < self.rate
        return await super().ask(request)

    def _choose(self, right: int, shown: int) -> int:
        others = [number for number in range(1, shown + 1) if number != right]
        return self.draw.choice(others) if self.wrong else right
