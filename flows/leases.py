"""Leases on run names: two commands with different configs do not work under one name at the same time.

A command that works on a run renews a small file of its own in the lake, `leases/<run>.<id>.json`, as long as it lives.
Commands with the same steps may share a run (ADR 12); one with other steps is refused while another works. Clocks of
machines are not compared: a lease that is not renewed while it is watched belongs to a dead command.
"""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from flows import terminal
from flows.interrupts import on_interrupt
from flows.plan import Plan
from storage.errors import RunFailed, WrongRequest
from storage.lake import Lake

RENEW_SECONDS = 10.0
"""How often a lease is renewed."""
DEAD_SECONDS = 35.0
"""How long another machine's lease is watched before its command counts as dead: three renewals."""
LONG_AGO = timedelta(hours=1)
"""A lease whose last renewal is that old by this machine's clock isn't watched at all."""


class _Lease:
    """The lease of this process on one run of one lake."""

    def __init__(self, plan: Plan) -> None:
        self.lake, self.run, self.steps = plan.lake, plan.config.run, _steps(plan)
        self.file = f"leases/{self.run}.{uuid4().hex}.json"
        self.since = _now()
        self.renewals = 0
        self.rival: dict | None = None
        """The lease of a command with other steps that works on the run as well, and precedes this one."""
        self._ended = threading.Event()
        self._turn = threading.Lock()

    def begin(self) -> None:
        """Write it, and go on renewing it."""
        with suppress(Exception):  # a lake that cannot be written to is reported by whoever writes tables
            self._write()
        threading.Thread(target=self._renew, name=f"lease of {self.run}", daemon=True).start()

    def end(self) -> None:
        """Take it back."""
        self._ended.set()
        with self._turn, suppress(Exception):  # it counts as dead soon if it cannot be removed
            self.lake.remove(self.file)

    def _write(self) -> None:
        self.renewals += 1
        content = {"steps": self.steps, "since": self.since, "renewed": _now(), "renewals": self.renewals}
        self.lake.write_json(self.file, {**content, **_process()})

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with self._turn, suppress(Exception):  # whoever needs the lake reports that it is out of reach
                if self._ended.is_set():
                    return
                taken = self.lake.read_json(self.file) is None
                for file, other in _others(self.lake, self.run, self.steps).items():
                    # A command that counted as dead, or began later, gives way: all look at the same files.
                    if not _died(other) and (taken or (other["since"], file) < (self.since, self.file)):
                        self.rival = other
                self._write()


_scopes: list[list[_Lease]] = []


@contextmanager
def scope() -> Iterator[None]:
    """Leases that are taken while it lasts end with it; a nested scope is the outer one."""
    if _scopes:
        yield
        return
    leases: list[_Lease] = []
    _scopes.append(leases)

    def end() -> None:
        for lease in leases:
            lease.end()

    try:
        with on_interrupt(end):
            yield
    finally:
        _scopes.remove(leases)
        end()


def take(plan: Plan) -> None:
    """Take the lease on a run until the scope ends; outside of a scope, only check that no other command holds one.

    Raises `WrongRequest` when another command with other steps works on it, `RunFailed` when one has taken it over.
    """
    held = [lease for lease in (_scopes[0] if _scopes else []) if _same(lease, plan)]
    for lease in held:
        if lease.rival is not None:
            msg = (
                f"run {lease.run} is now made by another command with another config ({_who(lease.rival)}); what is "
                f"done is kept in {lease.lake.uri}, and continues under another name: --set run=NAME"
            )
            raise RunFailed(msg)
        lease.steps = _steps(plan)
    if held:
        return
    check(plan)
    if not _scopes:
        return
    lease = _Lease(plan)
    lease.begin()
    _scopes[0].append(lease)
    # Of two that begin at the same moment at least one sees the other now, and the younger one gives way.
    for file, other in _others(lease.lake, lease.run, lease.steps).items():
        if (other["since"], file) < (lease.since, lease.file) and not _died(other):
            raise WrongRequest(_refusal(lease.run, other))


def check(plan: Plan) -> None:
    """Raises `WrongRequest` when another command with other steps works on the plan's run; writes nothing.

    Another machine's lease is watched for up to `DEAD_SECONDS`, since its command may have died.
    """
    if any(_same(lease, plan) for leases in _scopes for lease in leases):
        return
    lake, run = plan.lake, plan.config.run
    for file, other in _others(lake, run, _steps(plan)).items():
        if _died(other) or not _renewed(lake, file, other):
            with suppress(Exception):  # a lake that can only be read holds no work either
                lake.remove(file)
        else:
            raise WrongRequest(_refusal(run, other))


def _same(lease: _Lease, plan: Plan) -> bool:
    return (lease.lake.uri, lease.run) == (plan.lake.uri, plan.config.run)


def _steps(plan: Plan) -> str:
    """A hash of the steps that a command makes."""
    return hashlib.sha256(" ".join(step.fingerprint for step in plan.steps).encode()).hexdigest()[:16]


def _others(lake: Lake, run: str, steps: str) -> dict[str, dict]:
    """Leases on a run with other steps, by file; those that cannot be read are ignored."""
    leases_by_file = {}
    for file in lake.files("leases"):
        if file.removeprefix("leases/").rsplit(".", 2)[0] == run:
            with suppress(ValueError, KeyError, TypeError, RunFailed, WrongRequest):
                content = lake.read_json(file) or {}
                datetime.fromisoformat(content["renewed"])
                if content["steps"] != steps and content["since"] and int(content["process"]):
                    leases_by_file[file] = content
    return leases_by_file


def _died(other: dict) -> bool:
    """Whether a lease's command is known to have ended: it was on this machine, or long ago."""
    this_process = _process()
    if other.get("machine") == this_process["machine"]:
        return _born(int(other["process"])) != other.get("born")
    return datetime.now(UTC) - datetime.fromisoformat(other["renewed"]) > LONG_AGO


def _renewed(lake: Lake, file: str, seen: dict) -> bool:
    """Whether a command lives: at once for one of this machine, otherwise by watching its lease."""
    if seen.get("machine") == _process()["machine"]:
        return True
    notice = (
        f"another config works under this run's name, or did ({_who(seen)}): looking whether it still does"
    )
    terminal.errors().print(terminal.one_line(f"{notice}, for up to {DEAD_SECONDS:.0f} s"))
    deadline = time.monotonic() + DEAD_SECONDS
    while time.monotonic() < deadline:
        time.sleep(1.0)
        with suppress(ValueError, RunFailed):
            now = lake.read_json(file)
            if now is None:
                return False
            if now.get("renewals") != seen.get("renewals"):
                return True
    return False


def _refusal(run: str, other: dict) -> str:
    return (
        f"run {run} is being made by another command with another config ({_who(other)}); wait for its end, or give "
        "this one another name: --set run=NAME"
    )


def _who(other: dict) -> str:
    return f"process {other.get('process')} on {other.get('host')}, since {other.get('since')}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _process() -> dict[str, object]:
    """This process, so that others on this machine can tell whether it lives."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "process": os.getpid(),
        "born": _born(os.getpid()),
    }


@lru_cache(maxsize=1)
def _machine() -> str:
    """This machine since its boot, and the container on it: the scope of a process id."""
    known = [socket.gethostname(), f"{os.getuid()}" if os.name == "posix" else ""]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:16]


def _born(process: int) -> str | None:
    """Start time of a process of this machine, in the system's own unit; null when it has ended."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]
    if Path("/proc/self/stat").exists():
        return None
    try:  # a system without /proc
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return "alive"
    return "alive"
