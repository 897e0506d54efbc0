"""Questions with known answers for the reader check, made by a run's own explainers and scorers.

The features are written by hand (`features.yaml`); everything else is as in a run: prompts, few-shot turns, options,
forms. A scorer only needs its `requests` for this: they hold the right answers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import zip_longest
from typing import Any, Literal, NamedTuple, TypeVar

import yaml

from tasks.contexts.context import Context, Described, Feature
from tasks.contexts.context import context as written_context
from tasks.explainers import Explainer, best_of
from tasks.explainers.chat import ChatExplainer
from tasks.llm.request import Request, RequestKey, feature_of
from tasks.scorers import Scorer

Kind = Literal["explanations", "verdicts", "choices", "values"]
"""Kind of a component's answers: texts, 0 or 1 for each example, the number of one example, numbers per context."""

WANTED = {"verdicts": 20, "choices": 6, "values": 16}
"""Answers wanted for right explanations, by kind: as few as distinguish a good reader from chance."""
IN_PARTS = 8
"""Answers wanted instead if each takes more than two requests."""
WRONG = 5
"""Additional verdicts wanted for a wrong explanation, which fits none of the examples."""
LEAST = 3
"""Least questions per component: fewer could not detect a reader that always gives the same answer."""

_Item = TypeVar("_Item")
_STRONG, _WEAK = 0, 9
"""Deciles of a feature's contexts."""
_SILENT = 12
"""Silent contexts of each feature."""


class Theme(NamedTuple):
    """A feature written by hand, with its known explanation."""

    explanation: str
    named: tuple[str, ...]
    """Prefixes of words; a right explanation has at least one such word."""
    active: tuple[Context, ...]
    described: Described


@dataclass(frozen=True)
class Component:
    """The reader check's requests of one explainer or scorer."""

    name: str
    """The name in the table `requests`."""
    asker: ChatExplainer | Scorer
    kind: Kind
    requests: tuple[Request, ...]


def components(
    reader: str, explainers: Sequence[Explainer], scorers: Sequence[Scorer]
) -> tuple[Component, ...]:
    """All explainers and scorers that use a reader, with their requests; those without requests are left out."""
    asked_components = []
    for explainer in explainers:
        asking = explainer.asking
        if asking is None:
            continue
        if asking.reader == reader:
            asked_components.append(_explaining(explainer.name, asking))
        chooser = best_of.held_out_scorer(asking)
        if chooser is not None and chooser.reader == reader:
            asked_components.append(_scoring(f"{explainer.name}/best_of", chooser))
    asked_components += [_scoring(scorer.name, scorer) for scorer in scorers if scorer.reader == reader]
    return tuple(component for component in asked_components if component.requests)


def digest(asked: Iterable[Component]) -> str:
    """Hash of all questions and their right answers; 16 hexadecimal digits."""
    content = [
        (component.name, request.key, request.fingerprint, request.truths, request.right)
        for component in asked
        for request in component.requests
    ]
    return sha256(repr(content).encode()).hexdigest()[:16]


def theme_of(request: Request) -> int:
    """The number of the theme that a request is about."""
    number = feature_of(request.key)
    assert number is not None
    return number


@cache
def themes() -> tuple[Theme, ...]:
    """All features, in the order of their file."""
    return tuple(
        Theme(
            written["explanation"],
            tuple(written["named"]),
            tuple(
                replace(written_context(line), decile=decile)
                for decile, lines in ((_STRONG, written["strong"]), (_WEAK, written["weak"]))
                for line in lines
            ),
            Described(
                single_token=False,
                top_tokens=tuple(written["top_tokens"]),
                top_logits=tuple(written["raised"]),
                bottom_logits=tuple(written["lowered"]),
            ),
        )
        for written in _written()["features"]
    )


def wrong() -> str:
    """An explanation that fits no context of any feature."""
    return _written()["wrong"]


@cache
def _written() -> dict[str, Any]:
    return yaml.safe_load(files("tasks.reader_check").joinpath("features.yaml").read_text(encoding="utf-8"))


def _feature(number: int, kind: str) -> Feature:
    """A theme as a feature: its contexts, then silent ones of one kind, taken from the contexts of other themes."""
    own = themes()[number].active
    others = [
        [replace(context, near=other) for context in theme.active]
        for other, theme in enumerate(themes())
        if other != number
    ]
    silent = [
        replace(context, kind=kind, decile=None, activations=(0.0,) * len(context.strings))
        for context in list(_in_turn(others))[:_SILENT]
    ]
    contexts = [replace(context, context=place) for place, context in enumerate([*own, *silent])]
    return Feature(number, max(context.peak for context in own), tuple(contexts), themes()[number].described)


def _explaining(name: str, asking: ChatExplainer) -> Component:
    """An explainer's requests for every feature."""
    requests = [
        request
        for number in range(len(themes()))
        for request in asking.requests(RequestKey(number, name), _feature(number, "random"))
    ]
    return Component(name, asking, "explanations", tuple(requests))


def _scoring(name: str, scorer: Scorer) -> Component:
    """A scorer's requests with right explanations, alternating between features, and some with a wrong one."""
    kinds = scorer.kinds or ("similar", "silent")
    silent = next((kind for kind in kinds if scorer.negatives(_feature(0, kind).contexts)), kinds[0])

    def asked(number: int, which: str, explanation: str) -> list[Request]:
        return scorer.requests(RequestKey(number, name, which), explanation, _feature(number, silent))

    every = [_by_turns(asked(number, "right", theme.explanation)) for number, theme in enumerate(themes())]
    rightly = list(_in_turn(every))
    if not rightly:
        return Component(name, scorer, "verdicts", ())
    kind = _kind(scorer, rightly[0])
    requests = _enough(rightly, WANTED[kind] if len(rightly[0].parts) <= 2 else IN_PARTS)
    if kind == "verdicts" and scorer.needs_explanation:
        requests_with_wrong = _enough(
            list(_in_turn([asked(number, "wrong", wrong()) for number in range(2)])), WRONG, 1
        )
        requests += [
            replace(request, truths=(False,) * len(request.truths)) for request in requests_with_wrong
        ]
    return Component(name, scorer, kind, tuple(requests))


def _kind(scorer: Scorer, request: Request) -> Kind:
    """The kind of answer to a scorer's request."""
    if request.right is not None:
        return "choices"
    return "verdicts" if scorer.gives_verdicts else "values"


def _by_turns(requests: Sequence[Request]) -> list[Request]:
    """Requests about one context each, alternately activating and silent; of others those first that have both."""
    if any(len(request.contexts) != 1 or request.right is not None for request in requests):
        return sorted(requests, key=lambda request: abs(2 * sum(request.truths) - len(request.truths)))
    return list(
        _in_turn([[request for request in requests if request.truths[0] is truth] for truth in (True, False)])
    )


def _in_turn(lists: Sequence[Sequence[_Item]]) -> Iterator[_Item]:
    """The first of each list, then the second of each, and so on."""
    for row in zip_longest(*lists):
        yield from (item for item in row if item is not None)


def _enough(requests: Sequence[Request], answers: int, least: int = LEAST) -> list[Request]:
    """The first requests that have `answers` answers together, but at least `least` requests."""
    taken: list[Request] = []
    for request in requests:
        if len(taken) >= least and sum(len(answered.contexts) for answered in taken) >= answers:
            break
        taken.append(request)
    return taken
