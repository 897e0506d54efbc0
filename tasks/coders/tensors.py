"""Named tensors of known shapes, checked, as float32: from safetensors here, from other files by the same checks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.base import Expected, Shapes


def read(file: Path, shown: str, expected: Expected) -> dict[str, Tensor]:
    """The expected tensors, each checked; `shown` is the file as the user knows it.

    A file with any other tensor is refused. float32 whatever is stored: near a threshold, half
    precision would decide whether a feature fires. What is stored in float32 stays mapped from the file.
    """
    there = stored(file, shown)
    require(shown, expected.shapes, there)
    expected.refuse_others(shown, there)
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name).float() for name in expected.shapes}
    except (SafetensorError, OSError) as error:
        raise _broken(shown, error) from error
    require_finite(shown, tensors)
    return tensors


def stored(file: Path, shown: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a safetensors file, by name."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _broken(shown, error) from error


def require(shown: str, shapes: Shapes, stored: Shapes) -> None:
    """Refuse a file that lacks a tensor of `shapes` or has it in another shape."""
    for name, shape in shapes.items():
        if name not in stored:
            msg = f"{shown} has no tensor {name}: it holds {', '.join(sorted(stored)) or 'none'}"
            raise WrongRequest(msg)
        if stored[name] != shape:
            msg = f"{shown}: {name} has shape {list(stored[name])}, where {list(shape)} is expected"
            raise WrongRequest(msg)


def require_finite(shown: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that hold NaN or infinity."""
    for name, tensor in tensors.items():
        # A sum is finite only if all of it is, and needs no second tensor of a million rows; a finite
        # tensor whose sum overflows is looked at again.
        if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            msg = f"{shown}: {name} holds NaN or infinity: the checkpoint is broken, use another"
            raise WrongRequest(msg)


def _broken(shown: str, error: Exception) -> WrongRequest:
    return WrongRequest(f"{shown} is not a whole safetensors file ({error}): fetch the checkpoint again")


BLOCK_BYTES = 2**26
"""Bound on what is read of the file at once: a whole decoder can be larger than a machine's memory."""


def summed_decoder(file: Path, shown: str, name: str, width: int, d: int) -> Tensor:
    """[width, d] float32: the decoder [width, layers, d] of a safetensors file, summed over its layers.

    The sum is what a feature adds to the residual stream in the end. Raises `WrongRequest` for a tensor
    that is missing, misshapen or not finite.
    """
    there = stored(file, shown)
    shape = there.get(name, ())
    layers = shape[1] if len(shape) == 3 else 1
    expected = Expected({name: (width, layers, d)}, "the decoder of one layer is all that belongs there")
    require(shown, expected.shapes, there)
    expected.refuse_others(shown, there)
    total = torch.empty(width, d)
    rows = max(1, BLOCK_BYTES // (4 * max(1, layers) * d))
    with safe_open(file, framework="pt") as opened:
        decoder = opened.get_slice(name)
        for first in range(0, width, rows):
            total[first : first + rows] = decoder[first : first + rows].float().sum(1)
    require_finite(shown, {name: total})
    return total
