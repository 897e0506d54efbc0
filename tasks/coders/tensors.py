"""Named tensors of known shapes, checked, as float32: out of safetensors here, out of others by the same checks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.expected import Expected, Shapes


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
