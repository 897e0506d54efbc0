"""Optional readers: which components depend on one, and the config without those whose reader is not there.

Steps that are complete need no reader, so that what has been judged once stays in the run. An estimate sends no
request, so it says only what may be left out; but it does leave out a reader whose files are missing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from flows.config import RunConfig
from flows.plan import ASKING_STAGES, Component, Plan
from storage.errors import WrongRequest


class Optional(NamedTuple):
    """Names of components that may turn out to have no reader."""

    explainers: frozenset[str]
    scorers: frozenset[str]

    def leaves_out(self, explainer: str, scorer: str | None = None) -> bool:
        """Whether an explainer's requests may be left out, or those of a scorer about its explanations."""
        return explainer in self.explainers or scorer in self.scorers


def optional(plan: Plan) -> Optional:
    """What a run leaves out when its optional readers are not there; what is done needs none and stays."""
    names = set(_optional_names(plan.config))
    dependent = {component for component, readers in _unfinished(plan).items() if readers & names}
    return Optional(
        frozenset(name for kind, name in dependent if kind == "explainers"),
        frozenset(name for kind, name in dependent if kind == "scorers"),
    )


def without_missing(config: RunConfig) -> tuple[RunConfig, list[str]]:
    """The config without what asks optional readers whose files are missing, and why, a line each."""
    missing = _missing(config)
    explainers = tuple(part for part in config.explainers if not missing.keys() & {*part.readers.values()})
    scorers = tuple(part for part in config.scorers if part.reader not in missing)
    notes = [f"left out: what readers.{name} would be asked ({reason})" for name, reason in missing.items()]
    return config.model_copy(update={"explainers": explainers, "scorers": scorers}), notes


async def without_absent(config: RunConfig) -> tuple[RunConfig, list[str]]:
    """The config without what asks absent optional readers, and a line on each of these readers.

    Raises `WrongRequest` when no explainer is left.
    """
    # A reader whose files are missing has no identity, and no step can be planned with it.
    absent = _missing(config)
    left_out = {
        component: min(readers & absent.keys())
        for component, readers in _components(config)
        if readers & absent.keys()
    }
    for name in _optional_names(config):
        plan = Plan(_without(config, left_out))
        dependent = [component for component, readers in _unfinished(plan).items() if name in readers]
        if name in absent or not dependent:
            continue
        try:
            await config.readers[name].check()
        except WrongRequest as error:
            needing = [component for component in dependent if await _needs(plan, component, name, error)]
            left_out |= dict.fromkeys(needing, name)
            absent[name] = str(error)
    return _without(config, left_out), [
        f"Left out: {', '.join(part for (_, part), reader in left_out.items() if reader == name)}, "
        f"which readers.{name} would be asked for ({reason})."
        for name, reason in absent.items()
        if name in left_out.values()
    ]


def _optional_names(config: RunConfig) -> list[str]:
    return [name for name, reader in config.readers.items() if reader.is_optional]


def _missing(config: RunConfig) -> dict[str, str]:
    """Optional readers whose files are missing, and why."""
    missing = {}
    for name in _optional_names(config):
        try:
            config.readers[name].identity()
        except WrongRequest as error:
            missing[name] = str(error)
    return missing


def _components(config: RunConfig) -> Iterator[tuple[Component, set[str]]]:
    """Every component with its readers; unlike `Plan.askers`, also where no step can be planned."""
    for explainer in config.explainers:
        yield ("explainers", explainer.name), {*explainer.readers.values()}
    for scorer in config.scorers:
        yield ("scorers", scorer.name), {scorer.reader}


def _unfinished(plan: Plan) -> dict[Component, set[str]]:
    """The components that still have something to ask, with their readers."""
    return {
        asker.component: {*asker.readers}
        for asker in plan.askers(*ASKING_STAGES)
        if not plan.lake.complete(asker.asks_for)
    }


async def _needs(plan: Plan, component: Component, reader: str, error: WrongRequest) -> bool:
    """Whether a component cannot do without a reader that is not there: the cached replies may answer all."""
    # Local: the command begins with this module, and these load HTTP and Prefect.
    from flows.replay import unanswered  # noqa: PLC0415
    from tasks.llm.openai.preflight import EndpointsAway  # noqa: PLC0415

    if not isinstance(error, EndpointsAway):
        return True
    askers = [asker for asker in plan.askers(*ASKING_STAGES) if asker.component == component]
    return await unanswered(plan, reader, askers) != 0


def _without(config: RunConfig, left_out: dict[Component, str]) -> RunConfig:
    explainers = tuple(part for part in config.explainers if ("explainers", part.name) not in left_out)
    scorers = tuple(part for part in config.scorers if ("scorers", part.name) not in left_out)
    if not explainers:
        names = ", ".join(sorted(set(left_out.values())))
        msg = f"none of the readers that explainers ask is there ({names}); start one, or add an explainer with another"
        raise WrongRequest(msg)
    return config.model_copy(update={"explainers": explainers, "scorers": scorers})
