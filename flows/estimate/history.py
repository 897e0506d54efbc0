"""Lengths, latencies and counts of past replies in the lake, which an estimate uses for the requests to come.

Replies count for a component when the same model gave them to an explainer of the same kind, or to a scorer with the
same options. The run's own replies take precedence.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError

from flows.plan import Plan
from storage import query, runs
from storage.tables import NO_EXPLAINER
from tasks.explainers import Explainer, best_of
from tasks.explainers.chat import ChatExplainer
from tasks.scorers import Scorer

NOT_ABOUT_LENGTH = {"name", "reader", "seed"}
"""Options that do not affect the length of a reply."""


class Pace(NamedTuple):
    """Averages over past replies."""

    replies: float
    """How many replies there were, those to parts of a request included."""
    seconds: float
    """Latency of a request."""
    completion_tokens: float | None
    """Completion tokens of a reply; null where the server did not count them."""
    posed: int
    """Explanations, or features without one, that the requests were about."""
    questions: float
    """Questions about each of them."""
    texts: Sequence[str] = ()
    """Some of the explanations in the replies, short and long ones."""


class Component(NamedTuple):
    """A component that sends requests: an explainer, the chooser among its replicates, or a scorer."""

    stage: str
    name: str
    """As the table `requests` has it."""
    asked: BaseModel
    """Its options, which decide the content of its requests."""


class PastRequests(NamedTuple):
    """The past replies to a component of some run."""

    run: str
    component: Component
    model: str
    pace: Pace


def past_requests(plan: Plan) -> list[PastRequests]:
    """The past replies in the lake, by run, component and model."""
    if not runs.names(plan.lake):
        return []
    with plan.lake.connect() as connection:
        attached = runs.create_views(plan.lake, connection)
        rows = query.records(connection, "pace")
    asked = {
        (run, known.stage, known.name): known
        for run in attached.runs
        for known in _components(runs.record(plan.lake, run)["config"])
    }
    past = []
    for row in rows:
        component = asked.get((str(row["run"]), str(row["stage"]), str(row["component"])))
        if component is not None:
            numbers: dict[str, Any] = {field: row[field] for field in Pace._fields}
            past.append(PastRequests(str(row["run"]), component, str(row["model"]), Pace(**numbers)))
    return past


def find_pace(every: Sequence[PastRequests], run: str, component: Component, model: str) -> Pace | None:
    """Averages over past replies to components of the same kind; null where there are none."""
    of_model = [past for past in every if past.model == model and past.component.stage == component.stage]
    alike = [past for past in of_model if _same(past.component.asked, component.asked)]
    own = [past for past in alike if past.run == run and past.component.name == component.name]
    explained = isinstance(component.asked, ChatExplainer)
    akin = [past for past in of_model if explained and type(past.component.asked) is type(component.asked)]
    return _mean([past.pace for past in own or alike or akin])


def explainer_parts(explainer: Explainer) -> Iterator[Component]:
    """The components of an explainer that send requests: itself, and the chooser among its replicates."""
    if explainer.asking:
        yield Component("explain", explainer.name, explainer.asking)
        if chooser := best_of.held_out_scorer(explainer.asking):
            yield Component("explain", f"{explainer.name}/best_of", chooser)


def _components(config: dict[str, Any]) -> Iterator[Component]:
    """The components in a run's record, without kinds that this version of gloss does not know."""
    explainers = [explainer for explainer in map(_explainer, config.get("explainers", ())) if explainer]
    for explainer in explainers:
        yield from explainer_parts(explainer)
    for scorer in map(_scorer, config.get("scorers", ())):
        if scorer:
            names = (
                [explainer.name for explainer in explainers] if scorer.needs_explanation else [NO_EXPLAINER]
            )
            for name in names:
                yield Component("score", f"{name}/{scorer.name}", scorer)


def _explainer(config: dict[str, Any]) -> Explainer | None:
    try:
        return TypeAdapter[Explainer](Explainer).validate_python(config)
    except ValidationError:
        return None


def _scorer(config: dict[str, Any]) -> Scorer | None:
    try:
        return TypeAdapter[Scorer](Scorer).validate_python(config)
    except ValidationError:
        return None


def _same(component: BaseModel, other: BaseModel) -> bool:
    """Whether two components differ at most in options that do not affect the length of replies."""
    options = (part.model_dump(exclude=NOT_ABOUT_LENGTH) for part in (component, other))
    return type(component) is type(other) and next(options) == next(options)


def _mean(paces: Sequence[Pace]) -> Pace | None:
    """The mean over all replies; lengths only of counted ones."""
    replies, posed = sum(pace.replies for pace in paces), sum(pace.posed for pace in paces)
    if not replies:
        return None
    counted = [pace for pace in paces if pace.completion_tokens is not None]
    tokens = sum((pace.completion_tokens or 0.0) * pace.replies for pace in counted)
    return Pace(
        replies,
        sum(pace.seconds * pace.replies for pace in paces) / replies,
        tokens / sum(pace.replies for pace in counted) if counted else None,
        posed,
        sum(pace.questions * pace.posed for pace in paces) / posed,
        [text for pace in paces for text in pace.texts],
    )
