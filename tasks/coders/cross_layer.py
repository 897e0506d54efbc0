"""The decoder of a cross-layer transcoder, whose features write into their own layer and all later ones."""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from tasks.coders import tensors
from tasks.coders.expected import Expected

BLOCK_BYTES = 2**26
"""Bound on what is read of the file at once: a whole decoder can be larger than a machine's memory."""


def summed(file: Path, shown: str, name: str, width: int, d: int) -> Tensor:
    """[width, d] float32: the decoder [width, layers, d] of a safetensors file, summed over its layers.

    The sum is what a feature adds to the residual stream in the end. Raises `WrongRequest` for a tensor
    that is missing, misshapen or not finite.
    """
    stored = tensors.stored(file, shown)
    shape = stored.get(name, ())
    layers = shape[1] if len(shape) == 3 else 1
    expected = Expected({name: (width, layers, d)}, "the decoder of one layer is all that belongs there")
    tensors.require(shown, expected.shapes, stored)
    expected.refuse_others(shown, stored)
    total = torch.empty(width, d)
    rows = max(1, BLOCK_BYTES // (4 * max(1, layers) * d))
    with safe_open(file, framework="pt") as opened:
        decoder = opened.get_slice(name)
        for first in range(0, width, rows):
            total[first : first + rows] = decoder[first : first + rows].float().sum(1)
    tensors.require_finite(shown, {name: total})
    return total
