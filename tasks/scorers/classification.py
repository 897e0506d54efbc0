"""The base of detection and fuzzing: several contexts per question, a 0 or 1 for each (paper 3.3.1, 3.3.2)."""

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from pydantic import Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.llm.request import Message, Reply, Request, RequestKey, half_key
from tasks.scorers import logprobs
from tasks.scorers.base import Judgement, verdict_judgements
from tasks.scorers.chat import ChatScorer, list_of, one_of, rendered_shots
from tasks.scorers.reply_text import Wanted, stated

_LIST = Wanted(
    "list of 0 and 1",
    brackets=r"\[\s*[01](?:\s*,\s*[01])*\s*,?\s*\]",
    plain=r"(?<!\[)(?<!\[\s)[01](?:[ \t]*,[ \t]*[01])+",
)
"""In brackets, or a line of digits."""
_ONE = Wanted("digit 0 or 1", plain="[01]", before=r"(?:example[^\w\n]*1[^\w\n]+)?")
_LABEL = re.compile("[01]")
_LABELS = (0, 1)


class Classification(ChatScorer, frozen=True):
    """Options that detection and fuzzing have in common."""

    shown: int = Field(default=5, ge=1)
    """Contexts per question; the last question of a feature may have fewer. 1 asks about each alone, for a single
    digit."""
    logprobs: bool = False
    """Whether the server is asked for log-probabilities, which give each verdict its probability."""

    @property
    def wants_logprobs(self) -> bool:
        """As `logprobs` says."""
        return self.logprobs

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """One verdict per context, from the list of 0 and 1 that is stated, or the digit where one was shown.

        Raises `Unreadable` without one, and when log-probabilities were asked for and did not come.
        """
        answer = stated(reply, request.key, _ONE if self.shown == 1 else _LIST, _of(len(request.contexts)))
        verdicts = [label == "1" for label in _LABEL.findall(answer.value)]
        if not self.logprobs:
            return verdict_judgements(request, verdicts)
        start = logprobs.place_of(answer, reply, request.key)
        places = [start + label.start() for label in _LABEL.finditer(answer.value)]
        shares = [share["1"] for share in logprobs.probabilities(reply, places, ("0", "1"))]
        return verdict_judgements(request, verdicts, shares)

    def classification_requests(
        self,
        key: RequestKey,
        explanation: str,
        contexts: Sequence[Context],
        feature: Feature,
        show: Callable[[Context], str],
        few_shots: Sequence[Message],
    ) -> list[Request]:
        """Questions with `shown` contexts each, in a random order that depends on the seed alone."""
        system = self._instructions
        order = list(contexts)
        self.seeded_random(feature.feature).shuffle(order)
        order = far_apart(order)
        groups = with_one_other([order[i : i + self.shown] for i in range(0, len(order), self.shown)])
        return [
            self.request(
                key.with_question(number),
                render.write(
                    [show(context) for context in group], explanation, "single" if self.shown == 1 else "each"
                ),
                [(context.context, context.activating) for context in group],
                system=system,
                few_shots=few_shots,
                form=one_of(_LABELS) if self.shown == 1 else list_of(_LABELS, len(group), len(group)),
                together=str(key) if self.shown == 1 else None,
            )
            for number, group in enumerate(groups)
        ]

    @property
    def _instructions(self) -> str:
        """The system prompt for as many contexts per question."""
        return self.instructions(f"{self.kind}.one.prompt.txt" if self.shown == 1 else None)

    def halves(self, request: Request) -> list[Request]:
        """The question in two, with replies of the same form, a list even for one context; none where it has one."""
        shown = list(zip(request.contexts, request.truths, strict=True))
        if len(shown) == 1:
            return []
        *before, asked = request.messages
        question = render.without_instructions(asked.text)
        first = (len(shown) + 1) // 2
        return [
            self.request(
                half_key(request.key, number),
                render.about(question, len(shown), part),
                shown[part],
                system=self._instructions,
                few_shots=[turn for turn in before if turn.role != "system"],
                form=list_of(_LABELS, len(shown[part]), len(shown[part])),
            )
            for number, part in ((1, slice(first)), (2, slice(first, None)))
        ]


def far_apart(order: Sequence[Context]) -> list[Context]:
    """The same contexts with those that come a second time after all others, in the order of their first time.

    A question that showed one twice, with right marks and wrong ones, would be easier than either.
    """
    first: dict[int, Context] = {}
    again: dict[int, Context] = {}
    for context in order:
        (again if context.context in first else first)[context.context] = context
    return [*first.values(), *(again[number] for number in first if number in again)]


def with_one_other(groups: Sequence[Sequence[Context]]) -> list[list[Context]]:
    """The same questions with contexts exchanged, so that each has those of one other feature as far as possible.

    Positives are all of one feature: among negatives of several a reader would know them by what they have in common,
    without the explanation. Questions with the most such contexts come first, and take the other feature with the
    fewest left that are enough.
    """
    left: dict[int, deque[Context]] = defaultdict(deque)
    places = [[place for place, context in enumerate(group) if context.other is not None] for group in groups]
    for group, there in zip(groups, places, strict=True):
        for place in there:
            left[_other(group[place])].append(group[place])
    exchanged = [list(group) for group in groups]
    for number in sorted(range(len(groups)), key=lambda number: -len(places[number])):
        open_places = places[number]
        while open_places:
            enough = [other for other in left if len(left[other]) >= len(open_places)]
            other = (
                min(enough, key=lambda other: len(left[other]))
                if enough
                else max(left, key=lambda other: len(left[other]))
            )
            taken, open_places = open_places[: len(left[other])], open_places[len(left[other]) :]
            for place in taken:
                exchanged[number][place] = left[other].popleft()
            if not left[other]:
                del left[other]
    return exchanged


def _other(context: Context) -> int:
    assert context.other is not None
    return context.other


def _of(length: int) -> Callable[[str], bool]:
    return lambda answer: len(_LABEL.findall(answer)) == length


def few_shot_turns(name: str, show: Callable[[Context, list[int]], str], *, singly: bool) -> list[Message]:
    """The few-shot turns of a scorer, in the same form as its live questions: one context at a time where `singly`."""
    turns: list[Message] = []
    for shot, texts in rendered_shots(name, show):
        labels = shot["labels"]
        asked = zip(([text] for text in texts), map(str, labels), strict=True)
        for group, answer in asked if singly else [(texts, json.dumps(labels))]:
            question = render.write(group, shot["description"], "single" if singly else "each")
            turns += [Message("user", question), Message("assistant", answer)]
    return turns
