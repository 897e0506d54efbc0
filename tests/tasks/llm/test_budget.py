"""What a run spends on readers, and where it stops."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.errors import RunFailed
from tasks.llm.base import Reader
from tasks.llm.budget import Budget, BudgetedReader, BudgetSpent
from tasks.llm.dispatch import ask_all
from tasks.llm.reply_cache import CachingReader, Row
from tasks.llm.request import Message, Outcome, Prices, Reply, Request, Usage

PRICES = Prices(prompt=2.0, completion=10.0, cached=0.5)


class Priced(Reader):
    """A reader whose replies cost what their prompts are long, more or less, in any order."""

    def __init__(self, in_flight: int, seed: int = 0, *, counts: bool = True) -> None:
        self.in_flight, self._counts = in_flight, counts
        self._draw = random.Random(seed)
        self.paid = 0.0
        self.answered: list[str] = []
        self.under_way = self.most = 0

    async def ask(self, request: Request) -> Outcome:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        for _ in range(self._draw.randrange(1, 5)):
            await asyncio.sleep(0)
        self.under_way -= 1
        prompt = len(request.messages[0].text) // 4
        usage = Usage(prompt, self._draw.randrange(prompt), self._draw.randrange(1, 20))
        self.paid += PRICES.cost(usage) or 0.0
        self.answered.append(request.key)
        return Outcome(
            request, Reply("", usage=usage if self._counts else Usage()), None, "here", "tiny", 1, 0.1
        )


def questions(n: int) -> list[Request]:
    texts = (f"question {i}: " + "word " * (200 + i % 50) for i in range(n))
    return [
        Request(f"{i}/0", messages=(Message("user", text),), max_tokens=50) for i, text in enumerate(texts)
    ]


def run(reader: Priced, account: Budget, n: int) -> list[Outcome]:
    return asyncio.run(ask_all(BudgetedReader(reader, PRICES, account), questions(n)))


def test_without_a_budget_everything_is_asked_and_counted() -> None:
    """The account knows what was paid."""
    reader, account = Priced(8), Budget()

    assert 50 == len(run(reader, account, 50))
    assert abs(reader.paid - account.spent) < 1e-12


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 64), st.floats(0.2, 0.9), st.integers(0, 1000))
@example(13, 0.21875, 0)
def test_a_budget_is_kept_within_two_percent(in_flight: int, share: float, seed: int) -> None:
    """However many are under way: what was begun is paid and ends, and not one request more than fits is begun."""
    whole = Priced(in_flight, seed)
    run(whole, Budget(), 1000)
    reader, budget = Priced(in_flight, seed), whole.paid * share

    with pytest.raises(BudgetSpent, match="raise it and run again"):
        run(reader, Budget(budget), 1000)

    assert 0.98 * budget < reader.paid < 1.02 * budget
    assert 0 == reader.under_way


class Shelf:
    """Rows in memory."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def read(self) -> list[Row]:
        return list(self.rows)

    def add(self, rows: Sequence[Row]) -> None:
        self.rows += rows

    def merge(self) -> None:
        pass

    @property
    def paid(self) -> float:
        return sum(cost for row in self.rows if isinstance(cost := row["cost"], float))


def continued(
    reader: Priced, shelf: Shelf, budget: float, requests: Sequence[Request]
) -> tuple[list[Outcome], float]:
    """A command that goes on with what others have kept; the outcomes, none if the budget was spent."""
    account = Budget(budget, spent=shelf.paid)
    kept = CachingReader(BudgetedReader(reader, PRICES, account), {}, "run", lambda *_: shelf, PRICES.cost)

    async def run() -> list[Outcome]:
        async with kept.about(0, len(requests), "explanations/demo"):
            return await ask_all(kept, requests)

    try:
        return asyncio.run(run()), account.spent
    except BudgetSpent:
        return [], account.spent


@settings(deadline=None, max_examples=10)
@given(st.integers(16, 64), st.floats(0.3, 0.9), st.integers(0, 1000))
def test_a_budget_is_kept_over_all_commands(in_flight: int, share: float, seed: int) -> None:
    """What is kept is neither paid nor held against the budget again; a larger one repeats nothing."""
    whole = Priced(in_flight, seed)
    run(whole, Budget(), 500)
    reader, shelf, budget = Priced(in_flight, seed), Shelf(), whole.paid * share

    for _ in range(3):
        outcomes, spent = continued(reader, shelf, budget, questions(500))
        assert not outcomes
        assert spent == pytest.approx(reader.paid)
        assert 0.97 * budget < reader.paid < 1.02 * budget
    outcomes, spent = continued(reader, shelf, 2 * whole.paid, questions(500))

    assert 500 == len(outcomes) == len(reader.answered) == len(set(reader.answered))
    assert spent == pytest.approx(reader.paid)
    # As the ledger has it: each was paid by its own request.
    assert sum(
        PRICES.cost(outcome.reply.usage) or 0 for outcome in outcomes if outcome.reply
    ) == pytest.approx(spent)


@pytest.mark.parametrize("lists", [3, 6.4, 30])
def test_lists_do_not_end_a_budget_early(lists: float) -> None:
    """Near its end they are asked one by one: it ends less than a request before."""
    asked = [replace(item, together=str(n // 32)) for n, item in enumerate(questions(64 * 32))]
    whole = Priced(256)
    run(whole, Budget(), 64 * 32)
    reader, budget = Priced(256), whole.paid / 64 * lists

    continued(reader, Shelf(), budget, asked)

    dearest = PRICES.cost(Usage(400, 0, 50)) or 0
    assert budget - 2 * dearest < reader.paid < 1.02 * budget


def test_equal_requests_of_two_askers_are_paid_once() -> None:
    """Two scorers that ask the same: the second one's ledger says that it was asked by another."""
    reader, shelf = Priced(4), Shelf()
    kept = CachingReader(BudgetedReader(reader, PRICES, Budget()), {}, "run", lambda *_: shelf, PRICES.cost)

    async def run(asker: str) -> list[Outcome]:
        async with kept.about(0, 20, asker):
            return await ask_all(kept, questions(20))

    paid = [
        sum(PRICES.cost(item.reply.usage) or 0 for item in asyncio.run(run(asker)) if item.reply)
        for asker in ("judgements/one", "judgements/other", "judgements/one")
    ]

    assert paid == pytest.approx([reader.paid, 0, reader.paid])
    assert 20 == len(reader.answered)


def test_what_was_spent_before_counts() -> None:
    """A run that is continued has only the rest of its budget."""
    reader = Priced(4)

    with pytest.raises(BudgetSpent):
        run(reader, Budget(1.0, spent=1.0), 10)

    assert [] == reader.answered


def test_a_reader_without_prices_costs_nothing() -> None:
    """Embedded readers go on whatever the budget is."""
    reader, account = Priced(4), Budget(1e-9)
    metered = BudgetedReader(reader, Prices(), account)

    assert 10 == len(asyncio.run(ask_all(metered, questions(10))))


def test_a_budget_needs_counts() -> None:
    """An endpoint that doesn't say what a reply took ends a run that has a budget, at once."""
    with pytest.raises(RunFailed, match="here does not say how many tokens"):
        run(Priced(4, counts=False), Budget(1.0), 10)


def test_cached_tokens_have_a_price_of_their_own() -> None:
    """Where there is none they cost as much as any."""
    usage = Usage(prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=100_000)

    assert abs(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10 - (PRICES.cost(usage) or 0)) < 1e-9
    assert abs(2 + 0.1 * 10 - (Prices(2.0, 10.0).cost(usage) or 0)) < 1e-9
    assert Prices().cost(usage) is None
    assert PRICES.cost(Usage()) is None
