"""Which questions of a scorer are asked: all of them, or round by round as many as each score needs.

Those that do not fit into the model's context are asked in halves, where the scorer can divide them.
"""

import random
from collections.abc import Iterable, Sequence
from itertools import islice

from tasks.llm.fitting import ask_fitting
from tasks.llm.halves import standing
from tasks.llm.request import Outcome, Reader, Request
from tasks.scorers.adaptive import Adaptive
from tasks.scorers.base import Divides, Judgement, Judges, Posed, judgements


async def ask(
    scorer: Judges, posed: Sequence[Posed], reader: Reader
) -> tuple[list[Outcome], dict[str, Posed]]:
    """Ask; returns what became of each question, and by its key whose it was."""
    adaptive = getattr(scorer, "adaptive", None)
    if adaptive is not None:
        return await _in_rounds(scorer, adaptive, posed, reader)
    owners: dict[str, Posed] = {}

    def questions() -> Iterable[Request]:
        for one in posed:
            for request in scorer.requests(one.key, one.text, one.feature):
                owners[request.key] = one
                yield request

    return await ask_fitting(reader, questions(), Halves(scorer, owners)), owners


async def _in_rounds(
    scorer: Judges, adaptive: Adaptive, posed: Sequence[Posed], reader: Reader
) -> tuple[list[Outcome], dict[str, Posed]]:
    """Some questions about each, until its score is known well enough or they are used up."""
    outcomes: list[Outcome] = []
    owners: dict[str, Posed] = {}
    halves = Halves(scorer, owners)
    open_ones = {one.key: Course(one.key, scorer.requests(one.key, one.text, one.feature)) for one in posed}
    while open_ones:
        asked: list[Request] = []
        for one in posed:
            if one.key in open_ones:
                some = open_ones[one.key].take(adaptive.round)
                owners.update(dict.fromkeys((request.key for request in some), one))
                asked += some
        found = await ask_fitting(reader, asked, halves)
        outcomes += found
        for outcome in standing(found):
            open_ones[owners[outcome.request.key].key].judged += judgements(scorer, outcome)
        open_ones = {key: course for key, course in open_ones.items() if not course.done(adaptive)}
    return outcomes, owners


class Halves:
    """The halves of a scorer's questions; each is whose the question is."""

    def __init__(self, scorer: Judges, owners: dict[str, Posed]) -> None:
        """Write the halves down among the owners."""
        self._scorer, self._owners = scorer, owners

    def __call__(self, request: Request) -> list[Request]:
        """None where the scorer cannot divide its questions, or this one no further."""
        found = self._scorer.halves(request) if isinstance(self._scorer, Divides) else []
        self._owners.update(dict.fromkeys((half.key for half in found), self._owners[request.key]))
        return found


class Course:
    """The questions about one explanation, as far as they are asked."""

    def __init__(self, key: str, requests: Sequence[Request]) -> None:
        """None is asked. The order is random, whatever that of the requests, and the same for the same key."""
        order = list(requests)
        random.Random(key).shuffle(order)  # noqa: S311  (a draw, not a secret)
        self.truths = [truth for request in requests for truth in request.truths]
        self.judged: list[Judgement] = []
        self._left = iter(order)
        self._more = len(order)

    def take(self, n: int) -> list[Request]:
        """The next questions."""
        self._more -= n
        return list(islice(self._left, n))

    def done(self, adaptive: Adaptive) -> bool:
        """Whether no more are to be asked."""
        return self._more <= 0 or adaptive.settled(self.judged, self.truths)
