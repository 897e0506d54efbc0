"""Flows run from the command: in this process, on Prefect's own embedded API unless `PREFECT_API_URL` names another."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.plan import STAGES, Plan
from flows.preflight import preflight
from flows.run import begin, run
from flows.terminal import say_error
from storage.errors import RunFailed, WrongRequest


@contextmanager
def _interruptible() -> Iterator[None]:
    """While it lasts, Ctrl-C ends the process at once: parts appear whole, so that nothing is half-written.

    An exception would end only the main thread; the others would work on to the end of their stage.
    """

    def leave(_signal: int, _frame: object) -> None:
        say_error("gloss:", "interrupted; what is done is kept, and the same command continues")
        for server in list(SubprocessASGIServer._instances.values()):  # noqa: SLF001  (the embedded API's process)
            if server.server_process is not None:
                server.server_process.terminate()
        os._exit(1)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def check(plan: Plan, wanted: tuple[str, ...]) -> None:
    """Raises `WrongRequest` before Prefect is started where a request can be seen to be wrong."""
    asyncio.run(preflight(plan, wanted))


def work(plan: Plan, wanted: tuple[str, ...]) -> None:
    """Run some stages as flows. Every failure of a task that is not one of ours becomes `RunFailed`."""
    # Heartbeats let a server notice dead flows; a flow of this process dies with the command, and each sync flow
    # would wait a second for its heartbeat thread.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), _interruptible():
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
