"""What a run may spend on readers: counted as replies come, and stopped before it is exceeded.

A request is let through when what was spent, what is under way and itself fit into the budget, each of them as dear as
the dearest so far. One that doesn't waits for what is under way, which mostly comes cheaper; when nothing is, the
budget is spent. So nothing that was paid for is thrown away, and the sum ends less than one dear request below the
budget. It exceeds the budget by chance only: when the last ones are dearer than every one before.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from storage.errors import RunFailed
from tasks.llm.ledger import Prices
from tasks.llm.request import Outcome, Reader, Request, Usage

_CHARACTERS = 3.0
"""Characters of English per token, at least: what a prompt costs is first guessed by them, on the dear side."""


class BudgetSpent(RunFailed):
    """The run's budget allows no further request; what is done is kept and a larger budget continues."""


class Account:
    """What a run has spent, and what is under way. `tokens` counts those of this process' prompts and replies."""

    def __init__(self, budget: float | None = None, spent: float = 0.0) -> None:
        """Continue an account; a null budget allows everything. Both in the currency of the readers' prices."""
        self.budget, self.spent, self.tokens = budget, spent, 0
        self._expected, self._under_way, self._over = 0.0, 0, False
        self._settled = asyncio.Event()

    async def admit(self, expected: float) -> None:
        """Wait until there is room for a request. Raises `BudgetSpent` when there will be none."""
        while self._over or not self._fits(expected):
            if self._over or not self._under_way:
                self._over = True
                self._wake()
                raise BudgetSpent(self._said())
            await self._settled.wait()
        self._expected += expected
        self._under_way += 1

    def settle(self, expected: float, cost: float) -> None:
        """A request has ended, for better or worse."""
        self._expected -= expected
        self._under_way -= 1
        self.spent += cost
        self._wake()

    def _fits(self, expected: float) -> bool:
        return self.budget is None or self.spent + self._expected + expected <= self.budget

    def _wake(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()

    def _said(self) -> str:
        return (
            f"budget.cost is {self.budget:g}, {self.spent:.4g} of it are spent, and the next request would exceed it; "
            "what is done is kept: raise it and run again to continue"
        )


class Metered:
    """A reader whose replies are paid for from an account."""

    def __init__(self, reader: Reader, prices: Prices, account: Account) -> None:
        """Count what a reader's replies cost at its prices."""
        self._reader, self._prices, self._account = reader, prices, account
        self._dearest = 0.0

    @property
    def in_flight(self) -> int:
        """Requests that the reader takes at once."""
        return getattr(self._reader, "in_flight", 64)

    def about(self, first: int, end: int) -> AbstractAsyncContextManager[None]:
        """Where the reader keeps its replies: those about features from `first` up to `end`."""
        about = getattr(self._reader, "about", None)
        return about(first, end) if about else nullcontext()

    async def ask(self, request: Request) -> Outcome:
        """Answer one request when the account allows it. Raises `BudgetSpent` when it does not."""
        async with self._paying([request]) as outcomes:
            outcomes.append(await self._reader.ask(request))
        return outcomes[0]

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer requests that belong together, as `ask` does."""
        async with self._paying(requests) as outcomes:
            together = getattr(self._reader, "ask_together", None)
            if together is not None:
                outcomes.extend(await together(requests))
            else:
                outcomes.extend(await asyncio.gather(*(self._reader.ask(request) for request in requests)))
        return outcomes

    @asynccontextmanager
    async def _paying(self, requests: Sequence[Request]) -> AsyncIterator[list[Outcome]]:
        guess = sum(self._guess(request) for request in requests)
        # What replies cost at most, compared with their guess, mends the guess. Their mean would not do: the replies
        # of many requests under way may all be dearer than it.
        expected = guess * (self._dearest or 1.0)
        await self._account.admit(expected)
        outcomes: list[Outcome] = []
        paid = 0.0
        try:
            yield outcomes
            paid = self._count(outcomes, guess)
        finally:
            self._account.settle(expected, paid)

    def _guess(self, request: Request) -> float:
        texts = (*(message.text for message in request.messages), request.prompt or "", *request.texts)
        characters = sum(map(len, texts))
        return self._prices.cost(Usage(round(characters / _CHARACTERS), 0, request.max_tokens)) or 0.0

    def _count(self, outcomes: Sequence[Outcome], guess: float) -> float:
        """What replies cost. Raises `RunFailed` for a priced reply without a count where a budget is to be kept."""
        usages = [outcome.reply.usage for outcome in outcomes if outcome.reply]
        costs = [self._prices.cost(usage) for usage in usages]
        if self._account.budget is not None and self._prices.known and None in costs:
            msg = (
                f"budget.cost cannot be kept: {outcomes[0].endpoint} does not say how many tokens a reply took; "
                "take the budget away, or name an endpoint that counts"
            )
            raise RunFailed(msg)
        paid = sum(cost for cost in costs if cost is not None)
        # What failed, or was asked by another request before, says nothing of the price.
        if guess and all(outcome.reply and outcome.attempts for outcome in outcomes):
            self._dearest = max(self._dearest, paid / guess)
        self._account.tokens += sum(
            (usage.prompt_tokens or 0) + (usage.completion_tokens or 0) for usage in usages
        )
        return paid
