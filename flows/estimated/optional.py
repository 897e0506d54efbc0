"""Whose questions a run may leave out, as an optional reader may not be there: an estimate asks nobody whether it is.

A reader whose files are not there is another matter: that can be seen, and what it would be asked is left out.
"""

from typing import NamedTuple

from flows.config import RunConfig
from flows.plan import Plan
from storage.errors import WrongRequest


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
