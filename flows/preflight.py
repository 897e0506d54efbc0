"""Everything that can be found wrong with a request before anything is written.

Only what is still to be done is checked: a finished cache needs no model, a finished run no endpoint.
"""

import asyncio

from flows.plan import Plan
from storage.errors import WrongRequest
from tasks.llm.endpoints import EndpointRefused


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


def check_cache(plan: Plan) -> None:
    """Load corpus, subject and coders, and try them out. Raises `WrongRequest` with the first fault."""
    if plan.unfinished("cache"):
        from tasks.cache import try_out  # noqa: PLC0415  (loads torch, which a finished cache doesn't need)

        try_out(plan.config.subject, plan.config.corpus, plan.config.coders)


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
