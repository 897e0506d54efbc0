"""`gloss prompts`: every prompt that explainers and scorers send, on a feature that was written by hand."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, TypeAdapter
from rich.text import Text

from flows import terminal
from flows.config_file import load_config
from storage.errors import WrongRequest
from tasks.contexts.context import Context, Described, Feature
from tasks.contexts.context import context as written_context
from tasks.explainers import Explainer, best_of
from tasks.fields import kinds
from tasks.llm.request import Request, RequestKey
from tasks.scorers import Scorer

PARTS = 2
"""Parts of a request that are shown; the others differ only in their subject."""


class Shown(NamedTuple):
    """An example of a component's requests."""

    title: str
    note: str
    """How many requests the component has, or why it has none."""
    request: Request | None
    """The first of them."""


def show_prompts(options: argparse.Namespace) -> int:
    """Print the prompts of a config's components, or of every kind of them."""
    console = terminal.console()
    for shown in prompts(*_components(options.config, tuple(options.set))):
        console.print()
        console.print(Text(f"=== {shown.title}", style="bold cyan"), soft_wrap=True)
        console.print(Text(shown.note, style="dim"), soft_wrap=True)
        for heading, text in turns(shown.request) if shown.request else ():
            console.print(Text(f"--- {heading}", style="bold"), soft_wrap=True)
            # Rich would expand tabs, which readers are sent.
            console.file.write(f"{terminal.inert(text)}\n")
    return 0


def prompts(explainers: Sequence[Explainer], scorers: Sequence[Scorer]) -> Iterator[Shown]:
    """The requests of each component about the toy feature."""
    feature, explanation = toy()
    for explainer in explainers:
        yield from _explaining(explainer, feature, explanation)
    for scorer in scorers:
        requests = scorer.requests(RequestKey(feature.feature, 0, "none"), explanation, feature)
        yield _shown(f"scorer {scorer.name}", requests)


def turns(request: Request) -> Iterator[tuple[str, str]]:
    """The headings and texts of a request, in the order in which a reader gets them."""
    for message in request.messages:
        yield message.role, message.text
    if request.prompt is not None:
        yield "text to be continued", request.prompt
    for number, text in enumerate(request.texts, start=1):
        yield f"text {number} to be turned into a vector", text
    for number, part in enumerate(request.parts[:PARTS], start=1):
        for heading, text in turns(part):
            yield f"part {number} of {len(request.parts)}: {heading}", text


def toy() -> tuple[Feature, str]:
    """A feature with contexts of all kinds, and an explanation of it."""
    written = yaml.safe_load(files("flows.cli").joinpath("prompts.toy.yaml").read_text(encoding="utf-8"))
    contexts = tuple(replace(context, context=number) for number, context in enumerate(_contexts(written)))
    described = Described(
        single_token=False,
        top_tokens=tuple(written["top_tokens"]),
        top_logits=tuple(written["raised"]),
        bottom_logits=tuple(written["lowered"]),
    )
    peak = max(context.peak for context in contexts)
    return Feature(written["feature"], peak, contexts, described), written["explanation"]


def _contexts(written: dict[str, Any]) -> Iterator[Context]:
    for decile, lines in written["deciles"].items():
        for line in lines:
            yield replace(written_context(line), decile=decile)
    for line in written["silent"]:
        yield written_context(line)
    for near, line in written["neighbours"].items():
        yield replace(written_context(line), kind="similar", near=near)


def _components(
    config: str | None, settings: tuple[str, ...]
) -> tuple[Sequence[Explainer], Sequence[Scorer]]:
    if config is not None:
        run = load_config(config, settings)
        return run.explainers, run.scorers
    if settings:
        msg = f"--set {settings[0]} changes a config, and none is given; name one"
        raise WrongRequest(msg)
    return _each_kind(Explainer), [*_each_kind(Scorer), *_variants()]


def _each_kind(union: Any) -> list[Any]:
    """One component of each kind, with its required keys only."""
    needed = {"reader": "reader", "path": "explanations.jsonl", "format": "jsonl"}

    def made(kind: str, model: type[BaseModel]) -> Any:
        required = {name for name, field in model.model_fields.items() if field.is_required()} - {"kind"}
        return {"kind": kind} | {name: needed[name] for name in sorted(required)}

    adapter = TypeAdapter(union)
    return [adapter.validate_python(made(kind, model)) for kind, model in kinds(union).items()]


def _variants() -> list[Scorer]:
    """Scorers with options that change their prompts."""
    options: list[dict[str, object]] = [
        {"name": "detection_of_one", "kind": "detection", "shown": 1},
        {"name": "fuzzing_of_one", "kind": "fuzzing", "shown": 1},
        {"name": "fuzzing_active", "kind": "fuzzing", "marks": "active"},
        {"name": "fuzzing_mismarked", "kind": "fuzzing", "marks": "mismarked"},
        {"name": "simulation_by_token", "kind": "simulation", "mode": "token_by_token"},
    ]
    adapter = TypeAdapter[Scorer](Scorer)
    return [adapter.validate_python({"reader": "reader", **scorer}) for scorer in options]


def _explaining(explainer: Explainer, feature: Feature, explanation: str) -> Iterator[Shown]:
    title = f"explainer {explainer.name}"
    asking = explainer.asking
    if asking is None:
        yield Shown(title, "It asks no reader.", None)
        return
    if asking is not explainer:
        title = f"{title}, otherwise {asking.kind}"
    contexts = best_of.hold_out_all(asking, [feature])
    yield _shown(title, asking.requests(RequestKey(feature.feature, 0), contexts[feature.feature].shown))
    chooser = best_of.held_out_scorer(asking)
    if chooser is not None:
        held_out = contexts[feature.feature].held_out
        requests = chooser.requests(RequestKey(feature.feature, 0, "held_out"), explanation, held_out)
        yield _shown(f"{title}, best_of", requests)


def _shown(title: str, requests: Sequence[Request]) -> Shown:
    several = f"The first of {len(requests)} questions." if len(requests) > 1 else "One question."
    note = several if requests else "It asks nothing about this feature."
    return Shown(title, note, requests[0] if requests else None)
