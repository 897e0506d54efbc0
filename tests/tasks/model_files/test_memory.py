"""The memory that is free is the least of what the machine and the process' control groups leave."""

from pathlib import Path

import pytest

from tasks.model_files.memory import available_memory


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_this_machine_has_some() -> None:
    """As Linux says it."""
    free = available_memory()
    if free is None:
        pytest.skip("this system doesn't say")
    assert 0 <= free < 2**50


def test_a_system_that_says_nothing_has_no_bound(tmp_path: Path) -> None:
    """Then no model is refused."""
    assert available_memory(tmp_path) is None


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({}, 8_192_000),
        ({"a/b": ("max", 0)}, 8_192_000),
        ({"a/b": (5_000_000, 1_000_000)}, 4_000_000),
        ({"a/b": ("max", 0), "a": (3_000_000, 1_000_000)}, 2_000_000),
        ({"a/b": (9_000_000, 8_990_000), "a": (90_000_000, 0)}, 10_000),
    ],
)
def test_a_container_bounds_it(
    tmp_path: Path, groups: dict[str, tuple[int | str, int]], expected: int
) -> None:
    """By its own limit and those of the groups above."""
    write(tmp_path, "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    write(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    for name, (limit, used) in groups.items():
        write(tmp_path, f"sys/fs/cgroup/{name}/memory.max", f"{limit}\n")
        write(tmp_path, f"sys/fs/cgroup/{name}/memory.current", f"{used}\n")

    assert expected == available_memory(tmp_path)


def test_page_cache_can_be_dropped(tmp_path: Path) -> None:
    """It counts as used in a group, and the system gives it up for a model."""
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "1000\n")
    write(tmp_path, "sys/fs/cgroup/memory.current", "900\n")
    write(tmp_path, "sys/fs/cgroup/memory.stat", "anon 100\ninactive_file 700\n")

    assert 800 == available_memory(tmp_path)
