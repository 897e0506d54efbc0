"""Run flows from the command: in this process, with an embedded Prefect server unless `PREFECT_API_URL` names one.

The user's own Prefect server is notified of flow runs that an interrupted command leaves.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
from prefect import flow_engine, get_client
from prefect.client import orchestration
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Crashed

from flows.cache import cache
from flows.explain import explain
from flows.interrupts import on_interrupt
from flows.plan import STAGES, Plan
from flows.preflight import Prepared, hand_on, preflight
from flows.progress import say
from flows.run import begin, run
from flows.sample import sample
from flows.score import score
from storage.errors import RunFailed, WrongRequest
from storage.runs import REPAIR_ADVICE

FLOWS: tuple[Any, ...] = (run, cache, sample, explain, score)


@contextmanager
def report_interrupted_flows() -> Iterator[None]:
    """While it lasts, an interrupted command marks the flow runs that are running as crashed."""
    running: list[UUID] = []

    def began(flow: object, flow_run: Any, state: object) -> None:  # noqa: ARG001  (hooks are called so)
        running.append(flow_run.id)

    def ended(flow: object, flow_run: Any, state: object) -> None:  # noqa: ARG001
        if flow_run.id in running:
            running.remove(flow_run.id)

    def mark_crashed() -> None:
        with get_client(sync_client=True) as client:
            for flow_run in reversed(running):
                client.set_flow_run_state(
                    flow_run, Crashed(message="The command was interrupted."), force=True
                )

    hooks = [
        (hooks, hook)
        for flow in FLOWS
        for hooks, hook in (
            (flow.on_running_hooks, began),
            (flow.on_completion_hooks, ended),
            (flow.on_failure_hooks, ended),
            (flow.on_crashed_hooks, ended),
        )
    ]
    for listed, hook in hooks:
        listed.append(hook)
    try:
        with on_interrupt(mark_crashed):
            yield
    finally:
        for listed, hook in hooks:
            listed.remove(hook)


def check(plan: Plan, stages: tuple[str, ...]) -> list[str]:
    """Check a request before Prefect is started; returns lines for the user. Raises `WrongRequest` if it is wrong."""
    return asyncio.run(preflight(plan, stages))


def work(plan: Plan, stages: tuple[str, ...]) -> None:
    """Run some stages of a checked plan as flows. A task's failure other than our own errors becomes `RunFailed`."""
    # Heartbeats let a server notice dead flows; a flow of this process dies with the command, and each sync flow
    # would wait a second for its heartbeat thread. Its handler of SIGTERM would replace that of the command.
    with (
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        _replaced(flow_engine, "capture_sigterm", nullcontext),
        _server() as restarts,
    ):
        while True:
            before = restarts()
            try:
                return asyncio.run(_run(plan, stages, checked=not before))
            except (WrongRequest, RunFailed):
                raise
            except Exception as error:
                if before < restarts():  # the flow runs again, on the server that is there instead
                    continue
                logging.getLogger(__name__).debug("a flow failed", exc_info=True)
                sentence = " ".join(str(error).split()) or type(error).__name__
                if isinstance(error, duckdb.Error | pa.ArrowException):
                    sentence += f"; if a part is damaged, {REPAIR_ADVICE}"
                msg = f"{sentence}; what is done is kept in {plan.lake.uri}, and the same command continues"
                raise RunFailed(msg) from error


async def _run(plan: Plan, stages: tuple[str, ...], *, checked: bool) -> None:
    """Start the flows; where they are started again they check their request again, as models are loaded anew."""
    with hand_on(Prepared(plan)) if checked else nullcontext():
        if stages == STAGES:
            await run(plan.config)
            return
        for stage in stages:
            await begin(stage, plan.config)


@contextmanager
def _server() -> Iterator[Callable[[], int]]:
    """The server that flows run with; yields a function that counts how often it was started again."""
    if PREFECT_API_URL.value():
        with report_interrupted_flows():
            yield lambda: 0
        return
    from flows.embedded_server import EmbeddedServer  # noqa: PLC0415  (two seconds, which another server's command saves)

    server = EmbeddedServer(say)
    with ExitStack() as stack:
        stack.enter_context(on_interrupt(server.kill))
        # It is on this machine: no proxy of the environment is used for it, of whatever scheme.
        for name in ("PrefectHttpxAsyncClient", "PrefectHttpxSyncClient"):
            direct = partial(getattr(orchestration, name), trust_env=False)
            stack.enter_context(_replaced(orchestration, name, direct))
        yield lambda: server.restarts


@contextmanager
def _replaced(holder: Any, name: str, value: object) -> Iterator[None]:
    """Replace an attribute of Prefect that has no setting, for a while."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
