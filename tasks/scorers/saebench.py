"""The judging of SAEBench's automated interpretability (Karvonen et al. 2025), for comparison with its numbers.

One question per explanation: 14 unmarked windows in a random order, the 2 with the highest peaks, 2 drawn with a
probability proportional to their peaks, and 10 random ones in which the feature is silent; the reader lists those that
fit. Score: the share of right verdicts over the 14, `accuracy`. One who lists nothing scores 10 / 14, one who tosses a
coin for each 0.5: so few windows, most of them silent and the others strong, tell little about an explanation, and the
number compares with SAEBench's alone. Its windows are peaks with 10 tokens on each side, of sequences of 128:
`corpus: {sequence: 128}` and `sample: {windows: peak, window: 21}`. The activating ones are taken from the scorers'
contexts, none of which the explainer was shown, so that the highest peaks are the highest of those.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.fields import ComponentName
from tasks.llm.request import Reply, Request, RequestKey, Unreadable, quote_reply
from tasks.scorers.base import Judgement, listed, verdict_judgements
from tasks.scorers.chat import ChatScorer, list_of
from tasks.scorers.reply_text import Wanted, stated

TOP, WEIGHTED, RANDOM = 2, 2, 10
"""Windows with the highest peaks, windows drawn by their peaks, silent windows."""

_LIST = Wanted(
    "list of numbers",
    brackets=r"\[\s*(?:\d+(?:\s*,\s*\d+)*)?\s*\]",
    plain=r"\d+(?:[ \t]*,[ \t]*\d+)*(?:,?[ \t]+and[ \t]+\d+)?|none",
    before=r"(?:examples?[^\w\n]*)?",
)
"""In brackets, or a line of numbers or with the word none."""

ANYWHERE = ("random", "silent")
"""Kinds of non-activating contexts that are drawn from all that the corpus has."""

FAINTEST = 1e-9
"""Peak of a window without a positive activation, as some coders have, where windows are drawn by their peaks."""


class SAEBench(ChatScorer, frozen=True):
    """Which of fourteen windows fit the explanation?"""

    measure: ClassVar[Literal["accuracy"]] = "accuracy"
    """Its score: what SAEBench publishes, though the verdicts are on windows of both classes."""

    kind: Literal["saebench"]
    name: ComponentName = "saebench"
    """What the tables call it; two scorers of one kind need two names."""
    kinds: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Kinds of non-activating contexts that are shown; null shows `random` and `silent`. A feature with fewer than ten
    of them is not asked about."""

    @property
    def chance(self) -> float:
        """The share of silent windows, which is the accuracy of one who lists nothing."""
        return RANDOM / (TOP + WEIGHTED + RANDOM)

    def shows_by_default(self, kind: str) -> bool:
        """Windows of anywhere, as SAEBench's are."""
        return kind in ANYWHERE

    def negatives(self, contexts: Iterable[Context]) -> list[Context]:
        """Those of its kinds alone: with any other ones the number would have another meaning."""
        shown = super().negatives(contexts)
        return shown if self.kinds else [context for context in shown if self.shows_by_default(context.kind)]

    def unmet_need(self, kinds: Mapping[str, bool]) -> str | None:
        """What all scorers need, and windows of anywhere where no other kind is named."""
        absent = super().unmet_need(kinds)
        if absent is None and self.kinds is None and not any(map(self.shows_by_default, kinds)):
            return (
                f"sample.negatives has {listed(kinds)}, and saebench shows {listed(ANYWHERE)} windows; "
                "add one of these, or name other kinds"
            )
        return absent

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """One question; none about a feature with fewer contexts."""
        contexts = self._drawn(feature)
        if len(contexts) < TOP + WEIGHTED + RANDOM:
            return []
        texts = [render.text(context.strings) for context in contexts]
        question = render.write(texts, explanation, "fitting")
        about = [(context.context, context.activating) for context in contexts]
        form = list_of(range(1, len(contexts) + 1), 0, len(contexts))
        return [self.request(key.with_question(0), question, about, form=form)]

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """A verdict on each window, from the list that is stated. Raises `Unreadable` without one."""
        answer = stated(reply, request.key, _LIST)
        numbers = {int(number) for number in re.findall(r"\d+", answer.value)}
        shown = range(1, len(request.contexts) + 1)
        if not numbers <= set(shown):
            msg = f"a number that is not from 1 to {len(shown)} in the reply to {request.key} ({quote_reply(reply)})"
            raise Unreadable(msg)
        return verdict_judgements(request, [number in numbers for number in shown])

    def _drawn(self, feature: Feature) -> list[Context]:
        """The windows, shuffled."""
        draw = self.seeded_random(feature.feature)
        active = sorted(
            (context for context in feature.contexts if context.activating),
            key=lambda context: (-context.peak, context.context),
        )
        # Without replacement, by exponential clocks (Efraimidis and Spirakis 2006).
        clocks = {context.context: draw.expovariate(max(context.peak, FAINTEST)) for context in active[TOP:]}
        weighted = sorted(active[TOP:], key=lambda context: clocks[context.context])[:WEIGHTED]
        silent = self.negatives(feature.contexts)
        drawn = [*active[:TOP], *weighted, *draw.sample(silent, min(RANDOM, len(silent)))]
        draw.shuffle(drawn)
        return drawn
