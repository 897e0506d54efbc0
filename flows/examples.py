"""Questions such as a run will ask, made of nothing: what a reader must be able to do is tried out with them.

Of a server only what relies on more than text: servers ignore fields that they do not know, with status 200.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tasks import replicates
from tasks.contexts.context import Context, Described, Feature
from tasks.contexts.written import context
from tasks.explainers import Explainer
from tasks.llm.request import Request
from tasks.scorers import Scorer

_DECILES = 10
_PER_DECILE = 4
_KINDS = ("random", "silent", "same_token", "cooccurring", "similar", "similar_text")
_OF_EACH = 10
_EXPLANATION = "Words for moving through water."
_KEY = "0/example"


class Put(NamedTuple):
    """A question, and to whom it would be put."""

    path: str
    """Of the key that names the reader, `scorers.0.reader`."""
    reader: str
    request: Request


def each(explainers: Sequence[Explainer], scorers: Sequence[Scorer]) -> Iterator[Put]:
    """One question of each kind for each reader that components name, without a file that a `prompt` may name."""
    for number, explainer in enumerate(explainers):
        for path, reader in explainer.readers.items():
            for request in _explaining(explainer, path)[:1]:
                yield Put(f"explainers.{number}.{path}", reader, request)
    for number, scorer in enumerate(scorers):
        plain = scorer.model_copy(update={"prompt": None})
        for request in plain.requests(_KEY, _EXPLANATION, _feature())[:1]:
            yield Put(f"scorers.{number}.reader", scorer.reader, request)


def _explaining(explainer: Explainer, path: str) -> list[Request]:
    """What the reader that a key names is asked: to explain, or to choose among explanations."""
    asking = explainer.asking
    if asking is None:
        return []
    plain = asking.model_copy(update={"prompt": None})
    chooser = replicates.detection(plain) if path.endswith("best_of.reader") else None
    return chooser.requests(_KEY, _EXPLANATION, _feature()) if chooser else plain.requests(_KEY, _feature())


def examples(scorer: Scorer) -> list[Request]:
    """One request for each thing that a scorer relies on; none where text is all."""
    asked = scorer.requests(_KEY, _EXPLANATION, _feature())
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


def _feature() -> Feature:
    described = Described(
        single_token=False, top_tokens=("swam",), top_logits=(" ashore",), bottom_logits=(" said",)
    )
    return Feature(0, 9.0, tuple(_contexts()), described)


def _contexts() -> Iterator[Context]:
    for number in range(_DECILES * _PER_DECILE):
        yield replace(context(f"The| boat {number}| swam:9| away:2", number), decile=number // _PER_DECILE)
    first = _DECILES * _PER_DECILE
    for number, kind in enumerate(kind for kind in _KINDS for _ in range(_OF_EACH)):
        yield replace(context(f"A| stone| lay {number}| there", first + number), kind=kind, near=1)
