"""What a coder of gloss makes of vectors, as dense matrices that another library's can be compared with."""

from typing import Any

import torch
from torch import Tensor

from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.coders.checkpoints import random


def activations(coder: SparseCoder, x: Tensor) -> Tensor:
    """[tokens, width]."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


def assert_same(coder: SparseCoder, x: Tensor, encoded: Tensor, reconstructed: Tensor) -> None:
    """The coder fires on vectors [tokens, ...] where the other does, as strongly, and reconstructs the same."""
    result = activations(coder, x)

    assert (encoded != 0).any()
    assert torch.equal(encoded != 0, result != 0)
    torch.testing.assert_close(result, encoded, rtol=1e-4, atol=1e-5)
    mine = coder.reconstruct(x, coder.encode(x))
    torch.testing.assert_close(mine, reconstructed.flatten(1), rtol=1e-4, atol=1e-4)


def randomise(module: Any) -> None:
    """Give a module's parameters normal numbers that are the same in every run; thresholds above zero."""
    for seed, (name, parameter) in enumerate(sorted(module.named_parameters())):
        drawn = random(*parameter.shape, seed=seed)
        parameter.data.copy_(drawn.abs() if name == "threshold" else drawn)
