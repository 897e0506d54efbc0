"""Sample requests of every explainer and scorer, on made-up features: what a run will ask of its readers.

The config and the preflight try with them what a reader must be able to do. Of a server only what relies on more than
text is tried: servers ignore fields that they do not know, with status 200.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tasks.contexts.context import Context, Described, Feature, context
from tasks.explainers import Explainer, best_of
from tasks.llm.request import Request, RequestKey
from tasks.sampling import DECILES
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import KINDS
from tasks.scorers import Scorer
from tasks.scorers.base import TriesReaders

_PER_DECILE = 4
_OF_EACH: Mapping[str, int] = dict.fromkeys(KINDS, 10)
_LARGE = 200
"""Contexts of a kind, or of a decile, from which on more make no difference."""
_EXPLANATION = "Words for moving through water."
_KEY = RequestKey(0, "example")


class SampleRequest(NamedTuple):
    """A question, and to whom it would be put."""

    path: str
    """Of the key that names the reader, `scorers.0.reader`."""
    reader: str
    request: Request


def sample_requests(
    explainers: Sequence[Explainer], scorers: Sequence[Scorer], *, own_prompts: bool = False
) -> Iterator[SampleRequest]:
    """One question of each kind for each reader that components name, with `own_prompts` from the files they name.

    Raises `WrongRequest` where such a file cannot be used.
    """
    for number, explainer in enumerate(explainers):
        for path, reader in explainer.readers.items():
            for request in _explaining(explainer, path, own_prompts=own_prompts)[:1]:
                yield SampleRequest(f"explainers.{number}.{path}", reader, request)
    for number, scorer in enumerate(scorers):
        plain = scorer if own_prompts else scorer.model_copy(update={"prompt": None})
        for request in plain.requests(_KEY, _EXPLANATION, _feature())[:1]:
            yield SampleRequest(f"scorers.{number}.reader", scorer.reader, request)


def _explaining(explainer: Explainer, path: str, *, own_prompts: bool) -> list[Request]:
    """What the reader that a key names is asked: to explain, or to choose among explanations."""
    asking = explainer.asking
    if asking is None:
        return []
    plain = asking if own_prompts else asking.model_copy(update={"prompt": None})
    chooser = best_of.held_out_scorer(plain) if path.endswith("best_of.reader") else None
    return chooser.requests(_KEY, _EXPLANATION, _feature()) if chooser else plain.requests(_KEY, _feature())


def capability_requests(scorer: Scorer) -> list[Request]:
    """One request for each thing that a scorer relies on, and its own trials; none where text is all."""
    asked = scorer.requests(_KEY, _EXPLANATION, _feature())
    by_need = {
        _relied(request): request for request in reversed(list(_single(asked))) if any(_relied(request))
    }
    relied = [replace(request, contexts=(), truths=(), max_tokens=1) for request in by_need.values()]
    return relied + (scorer.trials(_KEY) if isinstance(scorer, TriesReaders) else [])


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


def asks_anything(scorer: Scorer, sample: Sampling) -> bool:
    """Whether a scorer asks anything about a feature with as many contexts as are drawn at most."""
    kinds = {kind.kind: min(kind.n, _LARGE) for kind in sample.negatives}
    feature = _feature(min(sample.per_decile, _LARGE), kinds)
    return bool(scorer.requests(_KEY, _EXPLANATION, feature))


def _feature(per_decile: int = _PER_DECILE, kinds: Mapping[str, int] = _OF_EACH) -> Feature:
    described = Described(
        single_token=False, top_tokens=("swam",), top_logits=(" ashore",), bottom_logits=(" said",)
    )
    return Feature(0, 9.0, tuple(_contexts(per_decile, kinds)), described)


def _contexts(per_decile: int, kinds: Mapping[str, int]) -> Iterator[Context]:
    for number in range(DECILES * per_decile):
        yield replace(context(f"The| boat {number}| swam:9| away:2", number), decile=number // per_decile)
    first = DECILES * per_decile
    for number, kind in enumerate(kind for kind, count in kinds.items() for _ in range(count)):
        silent = context(f"A| stone| lay {number}| there", first + number)
        yield replace(silent, kind=kind, near=1 if KINDS[kind].of_neighbours else None, **_other(kind))


def _other(kind: str) -> dict[str, Any]:
    """The other feature that fires in a context, where its kind names one."""
    return {"other": 1, "other_activations": (0.0, 9.0, 0.0, 0.0)} if KINDS[kind](kind=kind).others else {}
