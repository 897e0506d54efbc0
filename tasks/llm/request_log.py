"""The request log: rows of the table `requests`, with reader, tokens, latency and cost of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import RunFailed
from tasks.llm.request import Outcome, Prices, Usage, feature_of, halved_keys, without_halved


@dataclass(frozen=True)
class RequestOrigin:
    """What the requests of one task have in common."""

    coder: str
    stage: str
    component: str
    reader: str
    prices: Prices = Prices()  # noqa: RUF009  (it is immutable)


def request_rows(asked: RequestOrigin, outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """One row per request, in the order of the table: by feature, then key."""
    again = halved_keys(outcomes)
    rows = [_row(asked, outcome, again=outcome.request.key in again) for outcome in outcomes]
    return sorted(rows, key=lambda row: (row["feature"], row["request"]))


def _row(asked: RequestOrigin, outcome: Outcome, *, again: bool) -> dict[str, object]:
    unanswered = "halved" if again else "failed"
    usage = outcome.reply.usage if outcome.reply else Usage()
    return {
        "coder": asked.coder,
        "feature": feature_of(outcome.request.key),
        "stage": asked.stage,
        "component": asked.component,
        "request": outcome.request.key,
        "reader": asked.reader,
        "endpoint": outcome.endpoint,
        "model": outcome.model,
        "prompt_hash": outcome.request.digest,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "finish_reason": finish_reason(outcome),
        "latency": outcome.latency,
        "calls": outcome.calls,
        "attempts": outcome.attempts,
        "structured": outcome.structured,
        "status": unanswered if outcome.reply is None else "ok",
        "reason": outcome.reason,
        "cost": asked.prices.cost(usage),
    }


def finish_reason(outcome: Outcome) -> str | None:
    """Why a reply ended; None without one, and where it has no end of its own, as embeddings and parts."""
    reply = outcome.reply
    return None if reply is None or reply.parts or reply.vectors else reply.finish_reason


class Unanswered(RunFailed):
    """No request of a bucket got a reply."""


def check_answered(outcomes: Sequence[Outcome], name: str) -> None:
    """Refuse to commit a bucket of which no request at all got a reply: that is the endpoint's state, not theirs.

    What was asked again in halves counts by them. Raises `Unanswered` with the first reason; running again asks again.
    """
    last = without_halved(outcomes)
    if last and all(outcome.reply is None for outcome in last):
        msg = (
            f"none of {len(last)} requests of {name} got a reply (the first: {last[0].reason}); "
            "mend the endpoint and run again to continue"
        )
        raise Unanswered(msg)
