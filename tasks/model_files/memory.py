"""How much memory this process may still take: of the machine, and of the control groups (containers) it runs in."""

import re
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def available_memory(root: Path = _ROOT) -> int | None:
    """Bytes that can be taken without swapping; null where the system doesn't say, as on macOS.

    `root` is where `proc` and `sys` lie.
    """
    return min((*_of_the_machine(root), *_of_the_groups(root)), default=None)


def _of_the_machine(root: Path) -> Iterator[int]:
    named = re.search(r"MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"))
    if named:
        yield int(named[1]) * 1024


def _of_the_groups(root: Path) -> Iterator[int]:
    """What each control group (version 2) above this process leaves, page cache that can be dropped included."""
    named = re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    if named is None:
        return
    top = root / "sys/fs/cgroup"
    group = top / named[1]
    for folder in (group, *(above for above in group.parents if above.is_relative_to(top))):
        limit, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
        if limit.isdigit() and used.isdigit():
            dropped = re.search(r"^inactive_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
            yield max(0, int(limit) - int(used) + (int(dropped[1]) if dropped else 0))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
