"""How often tests kill what they have started: twice, or `KILLS` times (`KILLS=20 make test-faults`)."""

import os
import random
import time

import pytest

KILLS = int(os.environ.get("KILLS", "2"))


def moments(name: str, output: pytest.CaptureFixture[str]) -> random.Random:
    """Random moments, others each time; the seed is shown, and `KILLS_SEED` gives the same again."""
    seed = int(os.environ.get("KILLS_SEED") or time.time_ns() % 1_000_000)
    show(f"{name}: KILLS={KILLS} KILLS_SEED={seed}", output)
    return random.Random(f"{name} {seed}")


def show(line: str, output: pytest.CaptureFixture[str]) -> None:
    """A line in the test's own output."""
    with output.disabled():
        print(f"\n{line}", end="", flush=True)  # noqa: T201  (what a long test has done so far)
