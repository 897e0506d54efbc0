"""Flows run from the command: in this process, on Prefect's own embedded API unless `PREFECT_API_URL` names another."""

import asyncio
import logging

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.plan import STAGES, Plan
from flows.preflight import preflight
from flows.run import begin, run
from storage.errors import RunFailed, WrongRequest


def work(plan: Plan, wanted: tuple[str, ...]) -> None:
    """Check the request, then run some stages as flows.

    Raises `WrongRequest` before Prefect is started where the request can be seen to be wrong; every failure of a
    task that is not one of ours becomes `RunFailed`.
    """
    asyncio.run(preflight(plan, wanted))
    # Heartbeats let a server notice dead flows; a flow of this process dies with the command, and each sync flow
    # would wait a second for its heartbeat thread.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            asyncio.run(_run(plan, wanted))
        except (WrongRequest, RunFailed):
            raise
        except Exception as error:
            logging.getLogger(__name__).debug("a flow failed", exc_info=True)
            said = " ".join(str(error).split()) or type(error).__name__
            msg = f"{said}; what is done is kept in {plan.lake.uri}, and the same command continues"
            raise RunFailed(msg) from error


async def _run(plan: Plan, wanted: tuple[str, ...]) -> None:
    if wanted == STAGES:
        await run(plan.config)
        return
    for stage in wanted:
        await begin(stage, plan.config)
