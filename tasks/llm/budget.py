"""The budget of a run, and a reader that pays from it: costs are counted as replies come, and requests stop before it.

A request is sent when the money spent, the requests in flight and the request itself fit into the budget, each request
estimated to cost as much as the most expensive one so far. One that does not fit waits for those in flight, which
mostly cost less; when none are in flight, the budget is spent. So no reply that was paid for is thrown away, and the
sum ends less than one expensive request below the budget. It exceeds the budget by chance only: when the last requests
cost more than every one before.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from storage.errors import RunFailed
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Prices, Request, Usage

_CHARACTERS = 3.0
"""Characters of English per token, at least: the first estimate of a prompt's cost, rather too high than too low."""
_LISTS = 50
"""Lists as large as one that must fit where it is sent as one: else a budget would end by up to a list early."""


class BudgetSpent(RunFailed):
    """The run's budget allows no further request; what is done is kept and a larger budget continues."""


class Budget:
    """The money that a run has spent, and its requests in flight. `tokens` counts this process' prompts and replies."""

    def __init__(self, budget: float | None = None, spent: float = 0.0) -> None:
        """Continue with what was spent before; a null budget allows everything. Both in the currency of the prices."""
        self.budget, self.spent, self.tokens = budget, spent, 0
        self._under_way: list[Callable[[], float]] = []
        self._requests, self._over = 0, False
        self._settled = asyncio.Event()

    def join(self, under_way: Callable[[], float]) -> None:
        """Let a reader spend from this account; it says what its requests under way will cost, by what it knows."""
        self._under_way.append(under_way)

    async def admit(self, expected: Callable[[], float]) -> None:
        """Wait until there is room for what will cost so much. Raises `BudgetSpent` when there will be none."""
        # What is expected is asked anew each time: meanwhile replies have told what requests cost.
        while self._over or not self.fits(expected()):
            if self._over or not self._requests:
                self._over = True
                self._wake()
                raise BudgetSpent(self._spent_message())
            await self._settled.wait()
        self._requests += 1

    def settle(self, cost: float) -> None:
        """What was admitted has ended, for better or worse."""
        self._requests -= 1
        self.spent += cost
        self._wake()

    def fits(self, expected: float) -> bool:
        """Whether there is room beside what is under way."""
        if self.budget is None:
            return True
        return self.spent + sum(under_way() for under_way in self._under_way) + expected <= self.budget

    def _wake(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()

    def _spent_message(self) -> str:
        return (
            f"budget.cost is {self.budget:g}, {self.spent:.4g} of it are spent, and the next request would exceed it; "
            "what is done is kept: raise it and run again to continue"
        )


class BudgetedReader(Reader):
    """A reader whose replies are paid for from a run's budget."""

    def __init__(self, reader: Reader, prices: Prices, account: Budget) -> None:
        """Count what a reader's replies cost at its prices."""
        self._reader, self._prices, self._account = reader, prices, account
        self.in_flight, self.control_tokens = reader.in_flight, reader.control_tokens
        self._guessed, self._highest_ratio = 0.0, 0.0
        account.join(lambda: self._expected(self._guessed))

    async def ask(self, request: Request) -> Outcome:
        """Answer one request when the account allows it. Raises `BudgetSpent` when it does not."""
        async with self._paying([request]) as outcomes:
            outcomes.append(await self._reader.ask(request))
        return outcomes[0]

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer requests that belong together, as `ask` does."""
        async with self._paying(requests) as outcomes:
            outcomes.extend(await self._reader.ask_together(requests))
        return outcomes

    def asks_singly(self, requests: Sequence[Request]) -> bool:
        """Whether requests that belong together would take much of what is left of the budget."""
        guess = sum(self._guess(request) for request in requests)
        return not self._account.fits(_LISTS * self._expected(guess))

    @asynccontextmanager
    async def _paying(self, requests: Sequence[Request]) -> AsyncIterator[list[Outcome]]:
        guess = sum(self._guess(request) for request in requests)
        await self._account.admit(lambda: self._expected(guess))
        self._guessed += guess
        outcomes: list[Outcome] = []
        paid = 0.0
        try:
            yield outcomes
            paid = self._count(outcomes, guess)
        finally:
            self._guessed -= guess
            self._account.settle(paid)

    def _expected(self, guess: float) -> float:
        # What replies cost at most, compared with their guess, mends the guess. Their mean would not do: the replies
        # of many requests in flight may all cost more than it.
        return guess * (self._highest_ratio or 1.0)

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
            self._highest_ratio = max(self._highest_ratio, paid / guess)
        self._account.tokens += sum(
            (usage.prompt_tokens or 0) + (usage.completion_tokens or 0) for usage in usages
        )
        return paid
