"""What is peculiar to a lake in a folder: a crash in the middle of a write."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.backends.local import LocalBackend
from storage.lake import Lake

SIZE = 16_000_000
WRITER = f"""
import sys
from storage.backends.local import LocalBackend
backend, data = LocalBackend(sys.argv[1]), bytes({SIZE})
for number in range(1000):
    print(number, flush=True)
    backend.put(f"parts/{{number}}", data)
"""


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A writer that is killed while it writes leaves no short file under a final name."""
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        with subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                if int(line) == 2 + attempt:
                    break
            writer.send_signal(signal.SIGKILL)
        sizes = Lake(folder.as_posix()).files("parts")
        assert len(sizes) >= 2
        assert {SIZE} == set(sizes.values())


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that loses power leaves no short file under a final name either."""
    flushed = []

    def flush(file: int) -> None:
        flushed.append((os.fstat(file).st_size, (tmp_path / "parts/0").exists()))

    monkeypatch.setattr(os, "fsync", flush)
    LocalBackend(str(tmp_path)).put("parts/0", bytes(SIZE))

    assert [(SIZE, False)] == flushed
