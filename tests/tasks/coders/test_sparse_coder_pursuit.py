"""Matching pursuit agrees with its definition, one vector and one feature at a time."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tasks.coders.base import HookSite
from tasks.coders.saelens import SAELens
from tasks.coders.sparse_coder import MatchingPursuit, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random


def load(folder: Path) -> SparseCoder:
    """Load the coder."""
    return SAELens(path=str(folder)).load(None, HookSite("layers.2", D_IN))


def dense(coder: SparseCoder, x: Tensor) -> Tensor:
    """The coder's activations as a matrix."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


def pursued(x: Tensor, rows: Tensor, steps: int, small: float, *, ends_on_repeat: bool) -> Tensor:
    """Matching pursuit of each vector, one at a time."""
    out = torch.zeros(len(x), len(rows))
    for token, vector in enumerate(x):
        left = vector.clone()
        for _ in range(steps):
            best = int((rows @ left).argmax())
            size = torch.relu(rows[best] @ left)
            fires_already = out[token, best] > 0
            out[token, best] += size
            left = left - size * rows[best]
            if left.norm() < small or size == 0 or (ends_on_repeat and fires_already):
                break
    return out


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize(
    ("options", "steps", "small", "ends_on_repeat"),
    [
        ({}, D_IN, 1e-2, True),
        ({"residual_threshold": 2.0}, D_IN, 2.0, True),
        ({"max_iterations": 3}, 3, 1e-2, True),
        ({"stop_on_duplicate_support": False, "residual_threshold": 0.0}, D_IN, 0.0, False),
    ],
)
def test_matching_pursuit_takes_feature_by_feature(
    saelens: Write,
    x: Tensor,
    options: dict,
    steps: int,
    small: float,
    ends_on_repeat: bool,
    *,
    subtract: bool,
) -> None:
    """The feature that explains most of what is left fires, until little is left, nothing changes or time is up."""
    rows = torch.nn.functional.normalize(random(WIDTH, D_IN, seed=3), dim=1)
    cfg = {"architecture": "matching_pursuit", "apply_b_dec_to_input": subtract} | options
    bias = random(D_IN, seed=4)
    folder = saelens(cfg, {"W_dec": rows, "b_dec": bias, "W_enc": None, "b_enc": None})
    bias = subtract * bias

    expected = pursued(x - bias, rows, steps, small, ends_on_repeat=ends_on_repeat)
    coder = load(folder)

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        coder.reconstruct(x, coder.encode(x)), expected @ rows + bias, rtol=1e-3, atol=1e-3
    )


def test_matching_pursuit_of_nothing_is_nothing(saelens: Write) -> None:
    """A vector of zeros fires nothing, and neither do no vectors."""
    cfg = {"architecture": "matching_pursuit", "apply_b_dec_to_input": False}
    coder = load(saelens(cfg, {"W_enc": None, "b_enc": None}))

    assert 0 == len(coder.encode(torch.zeros(2, D_IN)).token)
    assert 0 == len(coder.encode(torch.empty(0, D_IN)).token)


def test_each_of_many_equal_vectors_fires_alike(saelens: Write) -> None:
    """A token that is done leaves the others alone: whoever stands beside it changes nothing."""
    coder = load(saelens({"architecture": "matching_pursuit"}, {"W_enc": None, "b_enc": None}))
    item, other = random(1, D_IN, seed=9), torch.zeros(1, D_IN) + coder.centre

    among = dense(coder, torch.cat([other, item, other, item]))

    assert not among[[0, 2]].any()
    torch.testing.assert_close(among[[1, 3]], dense(coder, item).expand(2, WIDTH), rtol=1e-4, atol=1e-4)


def test_it_stays_a_pursuit_wherever_it_goes(saelens: Write) -> None:
    """Moved to a device and another precision, it chooses as before."""
    coder = load(
        saelens({"architecture": "matching_pursuit", "max_iterations": 3}, {"W_enc": None, "b_enc": None})
    )

    moved = coder.to(torch.device("cpu"), torch.bfloat16)

    assert isinstance(moved, MatchingPursuit)
    assert 3 == moved.steps
    assert torch.float32 == moved.encode(random(5, D_IN)).activation.dtype
