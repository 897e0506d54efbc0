"""Questions such as a run will ask, made of nothing: what a server must be able to do is tried out with them.

Only those that rely on more than text: servers ignore fields that they do not know, with status 200.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tasks.contexts.context import Context, Feature
from tasks.contexts.written import context
from tasks.llm.request import Request
from tasks.scorers import Scorer

_DECILES = 10
_PER_DECILE = 4
_KINDS = ("random", "silent", "same_token", "cooccurring", "similar")
_OF_EACH = 10
_EXPLANATION = "Words for moving through water."


def examples(scorer: Scorer) -> list[Request]:
    """One request for each thing that a scorer relies on; none where text is all."""
    asked = scorer.requests("0/example", _EXPLANATION, Feature(0, 9.0, tuple(_contexts())))
    found = {_relied(request): request for request in reversed(list(_single(asked))) if any(_relied(request))}
    return [replace(request, contexts=(), truths=(), max_tokens=1) for request in found.values()]


def _relied(request: Request) -> tuple[bool, ...]:
    """What an answer must have beside text."""
    return (
        request.top_logprobs is not None,
        request.prompt_logprobs is not None,
        bool(request.texts),
    )


def _single(requests: Iterable[Request]) -> Iterator[Request]:
    for request in requests:
        yield from request.parts or (request,)


def _contexts() -> Iterator[Context]:
    for number in range(_DECILES * _PER_DECILE):
        yield replace(context(f"The| boat {number}| swam:9| away:2", number), decile=number // _PER_DECILE)
    first = _DECILES * _PER_DECILE
    for number, kind in enumerate(kind for kind in _KINDS for _ in range(_OF_EACH)):
        yield replace(context(f"A| stone| lay {number}| there", first + number), kind=kind, near=1)
