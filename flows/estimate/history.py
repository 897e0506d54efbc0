"""What the lake says of replies that have come: how long they were, how long they took, and how many were needed.

Only those to the same kind of question count, by the same model: of an explainer the same kind, of a scorer the same
options. Those of the run itself come first.
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

ASIDE = {"name", "reader", "seed"}
"""Options that decide nothing of how long a reply is."""


class Pace(NamedTuple):
    """What replies to some questions were like on average."""

    replies: float
    """How many there were, to all parts."""
    seconds: float
    """Until a question was answered."""
    completion_tokens: float | None
    """Of each reply; null where the server did not count."""
    posed: int
    """Explanations, or features alone, that they were about."""
    questions: float
    """About each of them."""
    texts: Sequence[str] = ()
    """Some of the explanations that were read in them, short and long ones."""


class Component(NamedTuple):
    """Who asked: an explainer, what chooses among its replicates, or a scorer."""

    stage: str
    name: str
    """As the table `requests` has it."""
    asked: BaseModel
    """With all that decides what is asked."""


class Kept(NamedTuple):
    """What the questions of a component of some run came to."""

    run: str
    component: Component
    model: str
    pace: Pace


def kept(plan: Plan) -> list[Kept]:
    """All that the lake of a run says."""
    if not runs.names(plan.lake):
        return []
    with plan.lake.connect() as connection:
        attached = runs.create_views(plan.lake, connection)
        rows = query.records(connection, "pace")
    asked = {
        (run, one.stage, one.name): one
        for run in attached.runs
        for one in _components(runs.record(plan.lake, run)["config"])
    }
    found = []
    for row in rows:
        component = asked.get((str(row["run"]), str(row["stage"]), str(row["component"])))
        if component is not None:
            numbers: dict[str, Any] = {field: row[field] for field in Pace._fields}
            found.append(Kept(str(row["run"]), component, str(row["model"]), Pace(**numbers)))
    return found


def seen(every: Sequence[Kept], run: str, component: Component, model: str) -> Pace | None:
    """What replies to a component's questions were like; null where there were none of their kind."""
    of_model = [one for one in every if one.model == model and one.component.stage == component.stage]
    alike = [one for one in of_model if _same(one.component.asked, component.asked)]
    own = [one for one in alike if one.run == run and one.component.name == component.name]
    explained = isinstance(component.asked, ChatExplainer)
    akin = [one for one in of_model if explained and type(one.component.asked) is type(component.asked)]
    return _mean([one.pace for one in own or alike or akin])


def explainer_parts(explainer: Explainer) -> Iterator[Component]:
    """Whoever asks for an explainer: it itself, and what chooses among its replicates."""
    if explainer.asking:
        yield Component("explain", explainer.name, explainer.asking)
        if chooser := best_of.detection(explainer.asking):
            yield Component("explain", f"{explainer.name}/best_of", chooser)


def _components(config: dict[str, Any]) -> Iterator[Component]:
    """Those of a run, by its record; what this version of gloss doesn't know is left out."""
    explainers = [one for one in map(_explainer, config.get("explainers", ())) if one]
    for explainer in explainers:
        yield from explainer_parts(explainer)
    for scorer in map(_scorer, config.get("scorers", ())):
        if scorer:
            names = [one.name for one in explainers] if scorer.needs_explanation else [NO_EXPLAINER]
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


def _same(one: BaseModel, other: BaseModel) -> bool:
    return type(one) is type(other) and one.model_dump(exclude=ASIDE) == other.model_dump(exclude=ASIDE)


def _mean(paces: Sequence[Pace]) -> Pace | None:
    """All of them together; lengths of those that counted them."""
    replies, posed = sum(one.replies for one in paces), sum(one.posed for one in paces)
    if not replies:
        return None
    counted = [one for one in paces if one.completion_tokens is not None]
    tokens = sum((one.completion_tokens or 0.0) * one.replies for one in counted)
    return Pace(
        replies,
        sum(one.seconds * one.replies for one in paces) / replies,
        tokens / sum(one.replies for one in counted) if counted else None,
        posed,
        sum(one.questions * one.posed for one in paces) / posed,
        [text for one in paces for text in one.texts],
    )
