"""A reader that answers nothing and counts everything: explainers and scorers are run with it to learn what they cost.

Its replies are those of the few-shot turns, so that what depends on a verdict goes on as it would. What depends on an
explanation needs another one: an explainer does not take its own examples for one.
"""

import json
from collections import defaultdict

from tasks.llm.counting import Bill, PrefixCache, Tokenizer, answers, bill
from tasks.llm.request import Outcome, Reply, Request


class Rehearsal:
    """Counts what it is asked; see `bills`."""

    def __init__(self, tokenizer: Tokenizer | None, cache: PrefixCache) -> None:
        """Count as a server with this tokenizer and cache; without a tokenizer only requests are counted."""
        self._tokenizer, self._cache = tokenizer, cache
        self.bills: dict[str, Bill] = defaultdict(Bill)
        """What was asked, by the first three parts of the requests' keys: feature, replicate, control."""

    async def ask(self, request: Request) -> Outcome:
        """Count a request and reply as its few-shot turns do."""
        about = "/".join(request.key.split("/")[:3])
        if self._tokenizer is None:
            self.bills[about] += Bill(requests=1)
        else:
            self.bills[about] += bill(request, self._tokenizer, self._cache)
        return Outcome(request, Reply(_said(request)), None, "nowhere", "nobody", attempts=1, latency=0.0)


def _said(request: Request) -> str:
    """One of the few-shot answers, another one for the next feature."""
    shown = answers(request)
    feature = int(request.key.split("/", 1)[0])
    return shown[feature % len(shown)] if shown else json.dumps([])
