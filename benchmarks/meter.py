"""CPU time, wall time and peak memory of this process. Standard library only: peers' environments load it too."""

import resource
import sys
import time
from pathlib import Path
from typing import Self


class Meter:
    """Measures the body of its `with`: all threads of this process and its children that have ended."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        """User and system time."""
        self.wall_s = 0.0
        self.peak_bytes = 0
        """Most memory that the process has held since it began, its libraries included."""

    def __enter__(self) -> Self:
        self._cpu, self._wall = _cpu(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s, self.wall_s = _cpu() - self._cpu, time.perf_counter() - self._wall
        self.peak_bytes = peak_bytes()

    def used(self) -> dict[str, float]:
        """What the body used."""
        return {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "peak_bytes": self.peak_bytes}


def _cpu() -> float:
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, processes))


def peak_bytes() -> int:
    """Peak resident memory.

    VmHWM where there is one: on Linux `ru_maxrss` begins with what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(
            line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")
        )
        return int(line.split()[1]) * 1024
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024
