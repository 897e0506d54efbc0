"""Flows run from the command: in this process, on Prefect's own embedded API unless `PREFECT_API_URL` names another."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
from prefect import flow_engine
from prefect.client import orchestration
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.abandoned import told_of
from flows.embedded_server import RESTARTS, EmbeddedServer
from flows.interrupts import last_act
from flows.plan import STAGES, Plan
from flows.preflight import preflight
from flows.progress import say
from flows.run import begin, run
from storage.errors import RunFailed, WrongRequest
from storage.runs import MEND


def check(plan: Plan, wanted: tuple[str, ...]) -> None:
    """Raises `WrongRequest` before Prefect is started where a request can be seen to be wrong."""
    asyncio.run(preflight(plan, wanted))


def work(plan: Plan, wanted: tuple[str, ...]) -> None:
    """Run some stages as flows. Every failure of a task that is not one of ours becomes `RunFailed`."""
    # Heartbeats let a server notice dead flows; a flow of this process dies with the command, and each sync flow
    # would wait a second for its heartbeat thread. Its handler of SIGTERM would put that of the command aside.
    with (
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        _replaced(flow_engine, "capture_sigterm", nullcontext),
        _server() as lost,
    ):
        while True:
            before = lost()
            try:
                return asyncio.run(_run(plan, wanted))
            except (WrongRequest, RunFailed):
                raise
            except Exception as error:
                if before < lost() <= RESTARTS:  # the flow runs again, on the server that is there instead
                    continue
                logging.getLogger(__name__).debug("a flow failed", exc_info=True)
                said = " ".join(str(error).split()) or type(error).__name__
                if isinstance(error, duckdb.Error | pa.ArrowException):
                    said += f"; if a part is damaged, {MEND}"
                msg = f"{said}; what is done is kept in {plan.lake.uri}, and the same command continues"
                raise RunFailed(msg) from error


async def _run(plan: Plan, wanted: tuple[str, ...]) -> None:
    if wanted == STAGES:
        await run(plan.config)
        return
    for stage in wanted:
        await begin(stage, plan.config)


@contextmanager
def _server() -> Iterator[Callable[[], int]]:
    """The server that flows are run with; gives how often it was lost so far."""
    if PREFECT_API_URL.value():
        with told_of():
            yield lambda: 0
        return
    server = EmbeddedServer(say)
    with ExitStack() as stack:
        stack.enter_context(last_act(server.kill))
        # It is on this machine: no proxy of the environment stands before it, of whatever scheme.
        for name in ("PrefectHttpxAsyncClient", "PrefectHttpxSyncClient"):
            direct = partial(getattr(orchestration, name), trust_env=False)
            stack.enter_context(_replaced(orchestration, name, direct))
        yield lambda: server.losses


@contextmanager
def _replaced(holder: Any, name: str, value: object) -> Iterator[None]:
    """Something of Prefect's that has no setting, replaced for a while."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
