"""What a run goes on without: components whose reader is optional and not there.

Steps that are complete need no reader, so that what has been judged once stays in the run.

Whose questions a run may leave out, as an optional reader may not be there: an estimate asks nobody whether it is.

A reader whose files are not there is another matter: that can be seen, and what it would be asked is left out.
"""

from collections.abc import Iterator
from typing import NamedTuple

from flows.config import RunConfig
from flows.plan import Plan
from storage.errors import WrongRequest
from storage.layout import Step


class Optional(NamedTuple):
    """Components of which nobody knows whether they will have their readers, by name."""

    explainers: frozenset[str]
    scorers: frozenset[str]

    def leaves_out(self, explainer: str, scorer: str | None = None) -> bool:
        """Whether an explainer's questions may be left out, or those of a scorer about its explanations."""
        return explainer in self.explainers or scorer in self.scorers


def optional(plan: Plan) -> Optional:
    """What a run leaves out when its optional readers are not there; what is done needs none and stays."""
    config, lake = plan.config, plan.lake
    names = frozenset(name for name, reader in config.readers.items() if getattr(reader, "optional", False))
    explaining = {one.explainer.name for one in plan.explanations if not lake.complete(one.step)}
    scoring = {one.scorer.name for one in plan.scores if not lake.complete(one.judgements)}
    return Optional(
        frozenset(
            one.name
            for one in config.explainers
            if one.name in explaining and names & {*one.readers.values()}
        ),
        frozenset(one.name for one in config.scorers if one.name in scoring and one.reader in names),
    )


def without_missing(config: RunConfig) -> tuple[RunConfig, list[str]]:
    """The config without what optional readers would be asked whose files are not there, and why, a line each."""
    missing: dict[str, str] = {}
    for name, reader in config.readers.items():
        if getattr(reader, "optional", False):
            try:
                reader.identity()
            except WrongRequest as error:
                missing[name] = str(error)
    explainers = tuple(one for one in config.explainers if not missing.keys() & {*one.readers.values()})
    scorers = tuple(one for one in config.scorers if one.reader not in missing)
    notes = [f"left out: what readers.{name} would be asked ({why})" for name, why in missing.items()]
    return config.model_copy(update={"explainers": explainers, "scorers": scorers}), notes


Component = tuple[str, str]
"""`explainers` or `scorers`, and a name."""


async def without_absent(config: RunConfig) -> tuple[RunConfig, list[str]]:
    """The config without what its absent optional readers would do, and a line on each of these readers.

    Raises `WrongRequest` when nobody is left to explain.
    """
    optional = [name for name, reader in config.readers.items() if getattr(reader, "optional", False)]
    absent: dict[str, str] = {}
    left: dict[Component, str] = {}
    for name in optional:  # one whose files are not there has no identity, and no step can be planned with it
        try:
            config.readers[name].identity()
        except WrongRequest as error:
            absent[name] = str(error)
    for component, readers in _components(config):
        if gone := readers & absent.keys():
            left[component] = min(gone)
    for name in optional:
        plan = Plan(_without(config, left))
        waiting = [one for one, readers in _unfinished(plan) if name in readers]
        if name in absent or not waiting:
            continue
        try:
            await config.readers[name].check()
        except WrongRequest as error:
            needing = [one for one in waiting if await _needs(plan, one, name, error)]
            left |= dict.fromkeys(needing, name)
            absent[name] = str(error)
    return _without(config, left), [
        f"Left out: {', '.join(one for (_, one), reader in left.items() if reader == name)}, "
        f"which readers.{name} would be asked for ({why})."
        for name, why in absent.items()
        if name in left.values()
    ]


def _components(config: RunConfig) -> Iterator[tuple[Component, set[str]]]:
    """Every component with its readers."""
    for explainer in config.explainers:
        yield ("explainers", explainer.name), {*explainer.readers.values()}
    for scorer in config.scorers:
        yield ("scorers", scorer.name), {scorer.reader}


def _unfinished(plan: Plan) -> Iterator[tuple[Component, set[str]]]:
    """The components that still have to ask, with their readers."""
    steps: dict[Component, list[Step]] = {}
    for explaining in plan.explanations:
        steps.setdefault(("explainers", explaining.explainer.name), []).append(explaining.step)
    for scoring in plan.scores:
        steps.setdefault(("scorers", scoring.scorer.name), []).append(scoring.judgements)
    for component, readers in _components(plan.config):
        if not all(plan.lake.complete(step) for step in steps[component]):
            yield component, readers


async def _needs(plan: Plan, component: Component, reader: str, error: WrongRequest) -> bool:
    """Whether a component cannot do without a reader that is not there: the kept replies may answer all."""
    # Local: the command begins with this module, and these load HTTP and Prefect.
    from flows.replay import unanswered  # noqa: PLC0415
    from tasks.llm.openai.preflight import EndpointsAway  # noqa: PLC0415

    if not isinstance(error, EndpointsAway):
        return True
    explaining = [one for one in plan.explanations if ("explainers", one.explainer.name) == component]
    scoring = [one for one in plan.scores if ("scorers", one.scorer.name) == component]
    return await unanswered(plan, reader, [*explaining, *scoring]) != 0


def _without(config: RunConfig, left: dict[Component, str]) -> RunConfig:
    explainers = tuple(one for one in config.explainers if ("explainers", one.name) not in left)
    scorers = tuple(one for one in config.scorers if ("scorers", one.name) not in left)
    if not explainers:
        names = ", ".join(sorted(set(left.values())))
        msg = f"none of the readers that explainers ask is there ({names}); start one, or add an explainer with another"
        raise WrongRequest(msg)
    return config.model_copy(update={"explainers": explainers, "scorers": scorers})
