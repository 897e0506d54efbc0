"""Processes by what they were started with: those of one test are told from all others by a variable of its own."""

import os
import signal
import time
from pathlib import Path


def started_with(variable: str, value: str) -> dict[int, str]:
    """Process ids and command lines of all processes that have a variable so in their environment."""
    processes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or is another user's
            continue
        if command and int(folder.name) != os.getpid() and f"{variable}={value}".encode() in variables:
            processes[int(folder.name)] = command
    return processes


def left_of(variable: str, value: str, seconds: float = 10) -> dict[int, str]:
    """Those that are still there when they have had some seconds to end."""
    deadline = time.monotonic() + seconds
    while (processes := started_with(variable, value)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes


def server_of(home: str, seconds: float = 60) -> int:
    """The process id of the embedded Prefect server with a home, which may still be about to start."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for process, command in started_with("PREFECT_HOME", home).items():
            if "flows.prefect_server" in command:
                return process
        time.sleep(0.02)
    msg = f"no embedded server with PREFECT_HOME={home} was started within {seconds} s"
    raise TimeoutError(msg)


def until_caught(process: int, number: signal.Signals, seconds: float = 60) -> None:
    """Wait until a process handles a signal itself: in the first moment of all the interpreter isn't there yet."""
    status = Path(f"/proc/{process}/status")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) >> (number - 1) & 1:
            return
        time.sleep(0.01)
