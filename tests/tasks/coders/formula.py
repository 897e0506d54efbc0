"""What a coder gives, as matrices, beside which a format's formula is written out."""

import torch
from torch import Tensor

from tasks.coders.base import HookSite
from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.coders.checkpoints import D_IN

PLACE = HookSite("layers.2", D_IN)


def dense(coder: SparseCoder, x: Tensor) -> Tensor:
    """The coder's activations [tokens, width]."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


def rebuilt(coder: SparseCoder, x: Tensor) -> Tensor:
    """What the coder makes of vectors [tokens, d_in]."""
    return coder.reconstruct(x, coder.encode(x))


def jump(pre: Tensor, threshold: Tensor | float = 0.0) -> Tensor:
    """Pre-activations above a threshold and above zero, else 0."""
    return pre.relu() * (pre > threshold)


def close(actual: Tensor, expected: Tensor) -> None:
    """Equal but for the order of summation."""
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
