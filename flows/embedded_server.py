"""Prefect's embedded server, with a port of its own: it ends with the command, and is started again when it is lost.

Importing this imports Prefect's server, which takes seconds, and which a command that asks another server never needs.
"""

import atexit
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Self

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import (
    PREFECT_LOGGING_LEVEL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
)

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

    @property
    def restarts(self) -> int:
        """How often it was lost and is started again; 0 once that is given up."""
        return self.losses if self.losses <= RESTARTS else 0

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
