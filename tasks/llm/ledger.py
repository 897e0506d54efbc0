"""What was asked, of whom, and what it cost: the rows of `requests`."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import RunFailed
from tasks.llm.request import Outcome, Usage


@dataclass(frozen=True)
class Asked:
    """What the requests of one task have in common."""

    coder: str
    stage: str
    component: str
    reader: str
    prompt_price: float | None = None
    """Per million tokens."""
    completion_price: float | None = None
    """Per million tokens."""

    def cost(self, usage: Usage) -> float | None:
        """Price of one request; null without rates or without counts."""
        if self.prompt_price is None or self.completion_price is None:
            return None
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        prompt = usage.prompt_tokens * self.prompt_price
        return (prompt + usage.completion_tokens * self.completion_price) / 1e6


def request_rows(asked: Asked, outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """One row per request, in the order of the table: by feature, then key."""
    rows = [_row(asked, outcome) for outcome in outcomes]
    return sorted(rows, key=lambda row: (row["feature"], row["request"]))


def _row(asked: Asked, outcome: Outcome) -> dict[str, object]:
    usage = outcome.reply.usage if outcome.reply else Usage()
    return {
        "coder": asked.coder,
        "feature": int(outcome.request.key.split("/", 1)[0]),
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
        "latency": outcome.latency,
        "attempts": outcome.attempts,
        "status": "failed" if outcome.reply is None else "ok",
        "reason": outcome.reason,
        "cost": asked.cost(usage),
    }


def check_answered(outcomes: Sequence[Outcome], name: str) -> None:
    """Refuse to commit a bucket of which no request at all got a reply: that is the endpoint's state, not theirs.

    Raises `RunFailed` with the first reason; running again asks again.
    """
    if outcomes and all(outcome.reply is None for outcome in outcomes):
        msg = (
            f"none of {len(outcomes)} requests of {name} got a reply (the first: {outcomes[0].reason}); "
            "mend the endpoint and run again to continue"
        )
        raise RunFailed(msg)
