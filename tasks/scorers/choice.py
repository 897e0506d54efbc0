"""The base of intruder and discrimination: several contexts per question, one of which the reader names."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.render import Named
from tasks.llm.request import Message, Reply, Request
from tasks.scorers import logprobs
from tasks.scorers.base import Judgement
from tasks.scorers.chat import ChatScorer, one_of, rendered_shots
from tasks.scorers.reply_text import stated_number

_BEFORE = r"(?:(?:example|number|option|excerpt)[^\w\n]*)?"
"""Words that a reader may put before the number."""


class Choice(ChatScorer, frozen=True):
    """Options that intruder and discrimination share."""

    named: ClassVar[Named]
    """What the reader is asked to name."""

    logprobs: bool = False
    """Whether the server is asked for log-probabilities, which give the right choice its probability."""

    @property
    def wants_logprobs(self) -> bool:
        """As `logprobs` says."""
        return self.logprobs

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """Whether the reader named the right example.

        Raises `Unreadable` when none was, and when log-probabilities were asked for and did not come.
        """
        shown = [str(number) for number in range(1, self.examples + 1)]
        stated = stated_number(reply, request.key, range(1, self.examples + 1), before=_BEFORE)
        number, right = stated.value, str(request.right)
        probability = None
        if self.logprobs:
            place = logprobs.place_of(stated, reply, request.key)
            (shares,) = logprobs.probabilities(reply, [place], shown)
            probability = shares[right]
        (context,) = request.contexts
        verdict = number == right
        return [Judgement(context, truth=True, verdict=verdict, probability=probability, named=int(number))]

    @property
    def chance(self) -> float:
        """One of the examples is right."""
        return 1 / self.examples

    @property
    def examples(self) -> int:
        """Examples per question; at most 9, so that the answer is one digit."""
        raise NotImplementedError

    def choice_request(
        self,
        key: str,
        few_shots: Sequence[Message],
        feature: Feature,
        sought: tuple[Context, str],
        others: Sequence[str],
        description: str | None,
    ) -> Request:
        """A question that shows a rendered context among others, in an order that depends on the seed alone."""
        context, text = sought
        draw = self.seeded_random(feature.feature, context.context)
        texts = draw.sample(others, len(others))
        place = draw.randrange(len(texts) + 1)
        texts.insert(place, text)
        return self.request(
            key,
            render.write(texts, description, self.named),
            [(context.context, True)],
            few_shots=few_shots,
            right=place + 1,
            form=one_of(range(1, self.examples + 1)),
        )


def few_shot_turns(name: str, show: Callable[[Context, list[int]], str], named: Named) -> list[Message]:
    """The few-shot turns of a scorer, in the same form as its live questions."""
    return [
        turn
        for shot, texts in rendered_shots(name, show)
        for turn in (
            Message("user", render.write(texts, shot.get("description"), named)),
            Message("assistant", str(shot["right"])),
        )
    ]
