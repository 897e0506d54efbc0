"""What a benchmark ran on, as far as it explains the numbers. No host names, no paths."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def machine() -> dict[str, object]:
    """Processor, cores, memory, GPU, system, and the versions that do the work."""
    return {
        "cpu": _processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": gpu(),
        "os": _system(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "duckdb", "pyarrow", "numpy")},
    }


def gpu() -> str | None:
    """The GPU that torch can use, null where there is none."""
    import torch  # noqa: PLC0415  (only asked for the GPU)

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.machine()}"
