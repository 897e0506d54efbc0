"""Firings that a task holds, and those that it reads."""

from pathlib import Path

import numpy as np
import pytest

from storage.lake import Lake
from tasks.sampling.held_firings import HeldFirings, read
from tests.tasks.caches import steps
from tests.tasks.drawing import worded

CACHE = worded(3, 40, [0.2] * 8)


@pytest.mark.parametrize("held", [[], [2], [0, 5], list(range(CACHE.width))])
def test_firings_are_the_same_whether_they_are_held_or_read(tmp_path: Path, held: list[int]) -> None:
    """Of any features, sorted."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    activations = lake.parts(steps()[1], "activations")
    with lake.connect() as connection:
        every = read(connection, activations, np.arange(CACHE.width, dtype=np.int32))
        firings = HeldFirings(
            connection, activations, read(connection, activations, np.array(held, np.int32))
        )
        for wanted in ([0, 2, 6], [5], []):
            features = np.array(wanted, np.int32)
            assert every.of_features(features).table().equals(firings.of_features(features).table())
