"""Run flows from the command: in this process, with an embedded Prefect server unless `PREFECT_API_URL` names one.

The embedded server has a port of its own, ends with the command, and is started again when it is lost. The user's own
Prefect server is notified of flow runs that an interrupted command leaves.
"""

import asyncio
import atexit
import logging
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import IO, Any, Self
from uuid import UUID

import duckdb
import pyarrow as pa
from prefect import flow_engine, get_client
from prefect.client import orchestration
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_LEVEL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
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


RESTARTS = 3
"""How often a lost server is started again, in all."""

ENVIRONMENT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
"""Environment variables that Prefect gives its own embedded server."""


class EmbeddedServer(SubprocessASGIServer):
    """The server that Prefect's clients ask when no other is named, from the moment at which this is made.

    This process listens at the port, so that nobody can take it before the server is there, and requests wait while a
    lost one is started again. The server's database is a file, so that it knows the runs of the one before it.
    """

    def __init__(self, tell: Callable[[str], None] = print) -> None:
        """Start nothing yet; `tell` gets a line when the server is lost. Prefect's clients call this each time."""
        if not hasattr(self, "losses"):
            self.losses = 0
            self._tell = tell
            self._starting = threading.Lock()
            self._stopping = False
            self._log: IO[bytes] | None = None
        super().__init__()

    def __new__(cls, *_: object) -> Self:
        """The only instance: Prefect's clients look for the one without a port."""
        return super().__new__(cls)

    def start(self, timeout: int | None = None) -> None:
        """Start it and wait until it answers, unless it was started before.

        Raises `RuntimeError` with the server's last words where it does not within `timeout` seconds.
        """
        with self._starting:
            if self.running:
                return
            self._environment = {
                **os.environ,
                **ENVIRONMENT,
                **get_current_settings().to_environment_variables(exclude_unset=True),
            }
            self._quiet = PREFECT_LOGGING_LEVEL.value() == "CRITICAL"
            self._seconds = timeout or PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
            self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
            self.port = self._socket.getsockname()[1]
            self._stopping = False
            self._begin()
            self.running = True
            atexit.register(self.stop)

    def stop(self) -> None:
        """End it, for good."""
        self._stopping = True
        atexit.unregister(self.stop)
        super().stop()
        if self.port is not None:
            self._socket.close()
        if self._log is not None:
            self._log.close()

    def kill(self) -> None:
        """End it at once."""
        self._stopping = True
        if self.server_process is not None:
            self.server_process.kill()

    def _run_uvicorn_command(self) -> "subprocess.Popen[bytes]":
        listening = self._socket.fileno()
        if self._log is not None:
            self._log.close()
        self._log = tempfile.TemporaryFile() if self._quiet else None  # noqa: SIM115  (as long as it writes there)
        return subprocess.Popen(  # noqa: S603  (this very program)
            [sys.executable, "-m", "flows.prefect_server", str(listening), str(os.getpid())],
            env=self._environment,
            pass_fds=(listening,),
            stdin=subprocess.PIPE,  # closed by the system when this process ends, in whatever way
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # a terminal's Ctrl-C is for the command alone
        )

    def _begin(self) -> None:
        self.server_process = process = self._run_uvicorn_command()
        if not self._ready(process):
            process.kill()
            code = process.wait()
            failure = f"did not start within {self._seconds} s (exit code {code}){self._last_log_line()}"
            msg = f"Prefect's embedded server {failure}"
            raise RuntimeError(msg)
        threading.Thread(target=self._watch, args=(process,), name="embedded server", daemon=True).start()

    def _ready(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait until it reports that it is ready, or ends."""
        assert process.stdout is not None
        deadline = time.monotonic() + self._seconds
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        return bool(readable) and bool(process.stdout.readline())

    def _last_log_line(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()}" if lines else ""

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Start it again when it ends without `stop` or `kill`."""
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if self._stopping:
            return
        self.losses += 1
        if self.losses > RESTARTS:
            self._tell(f"Prefect's embedded server was lost {self.losses} times{self._last_log_line()}")
            self._socket.close()
            return
        self._tell("Prefect's embedded server was lost, and is started again")
        try:
            self._begin()
        except RuntimeError as error:
            self._tell(str(error))
            self.losses = RESTARTS + 1
            self._socket.close()


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
        _server() as lost,
    ):
        while True:
            before = lost()
            try:
                return asyncio.run(_run(plan, stages, checked=not before))
            except (WrongRequest, RunFailed):
                raise
            except Exception as error:
                if before < lost() <= RESTARTS:  # the flow runs again, on the server that is there instead
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
    """The server that flows run with; yields a function that counts how often it was lost."""
    if PREFECT_API_URL.value():
        with report_interrupted_flows():
            yield lambda: 0
        return
    server = EmbeddedServer(say)
    with ExitStack() as stack:
        stack.enter_context(on_interrupt(server.kill))
        # It is on this machine: no proxy of the environment is used for it, of whatever scheme.
        for name in ("PrefectHttpxAsyncClient", "PrefectHttpxSyncClient"):
            direct = partial(getattr(orchestration, name), trust_env=False)
            stack.enter_context(_replaced(orchestration, name, direct))
        yield lambda: server.losses


@contextmanager
def _replaced(holder: Any, name: str, value: object) -> Iterator[None]:
    """Replace an attribute of Prefect that has no setting, for a while."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
