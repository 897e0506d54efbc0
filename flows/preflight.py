"""Everything that can be found wrong with a request before anything is written.

Only what is still to be done is checked: a finished cache needs no model, a finished run no endpoint.
"""

import asyncio
from typing import TYPE_CHECKING

from flows.plan import Plan
from storage.errors import WrongRequest
from tasks.llm.endpoints import EndpointRefused

if TYPE_CHECKING:
    from tasks.activations.gate import Fit

DOUBTFUL_FVU = 0.5
"""Above it a coder is not refused, as some are that bad, but its user is told."""


async def preflight(plan: Plan, stages: tuple[str, ...]) -> None:
    """Check what some stages need: corpus, subject, sites, coders, endpoints, lake.

    Raises `WrongRequest` with the first fault.
    """
    if "cache" in stages:
        await asyncio.to_thread(check_cache, plan)
    for stage in stages:
        await check_readers(plan, stage)
    if plan.unfinished(*stages):
        plan.lake.check_writable()


def check_cache(plan: Plan) -> list[str]:
    """Load corpus, subject and coders, and try them out; returns a line on how each coder fits its site.

    Raises `WrongRequest` with the first fault.
    """
    if not plan.unfinished("cache"):
        return []
    from tasks.activations.resident import try_out  # noqa: PLC0415  (loads torch, which a finished cache doesn't need)

    config = plan.config
    fits = try_out(config.subject, config.corpus, config.coders)
    return [f"{coder.name} at {coder.site}: {_fit(fits[coder.name])}" for coder in config.coders]


def _fit(fit: "Fit") -> str:
    declared = f" (declared {fit.declared_l0})" if fit.declared_l0 else ""
    doubt = "; that is much: is it the right site?" if fit.fvu > DOUBTFUL_FVU else ""
    return f"FVU {fit.fvu:.3f}, L0 {fit.l0:.1f}{declared}{doubt}"


async def check_readers(plan: Plan, stage: str) -> None:
    """Ask the readers of a stage whether they are there. Raises `WrongRequest` with the first that is not."""
    config = plan.config
    parts = {"explain": config.explainers, "score": config.scorers}.get(stage, ())
    if not parts or not plan.unfinished(stage):
        return
    for name in sorted({part.reader for part in parts}):
        try:
            await config.readers[name].check()
        except EndpointRefused as error:
            msg = f"readers.{name}: {error}"
            raise WrongRequest(msg) from error
