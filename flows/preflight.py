"""Everything that can be found wrong with a request before anything is written.

Only what is still to be done is checked: a finished cache needs no model, a finished run no endpoint.
"""

import asyncio

from flows.plan import Plan
from storage.errors import WrongRequest
from tasks.llm.endpoints import EndpointRefused


async def preflight(plan: Plan) -> None:
    """Check lake, corpus, subject, sites, coders and endpoints. Raises `WrongRequest` with the first fault."""
    unfinished = plan.unfinished("cache")
    asking = plan.unfinished("explain", "score")
    if unfinished:
        from tasks.cache import try_out  # noqa: PLC0415  (loads torch, which a finished cache doesn't need)

        config = plan.config
        await asyncio.to_thread(try_out, config.subject, config.corpus, config.coders)
    if asking:
        await _check_readers(plan)
    if unfinished or asking or plan.unfinished("sample"):
        plan.lake.check_writable()


async def _check_readers(plan: Plan) -> None:
    config = plan.config
    used = {part.reader for part in (*config.explainers, *config.scorers)}
    for name in sorted(used):
        try:
            await config.readers[name].check()
        except EndpointRefused as error:
            msg = f"readers.{name}: {error}"
            raise WrongRequest(msg) from error
