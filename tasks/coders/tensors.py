"""Reads named tensors of known shapes out of a safetensors file, as float32. No pickle, ever."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from storage.errors import WrongRequest


def read(
    file: Path, shown: str, shapes: Mapping[str, tuple[int, ...]], device: str
) -> dict[str, torch.Tensor]:
    """The tensors named in `shapes`, each checked; `shown` is the file as the user knows it.

    Other tensors in the file are left alone. float32 whatever is stored: near a threshold, half
    precision would decide whether a feature fires.
    """
    try:
        with safe_open(file, framework="pt", device=device) as opened:
            stored = set(opened.keys())
            for name, shape in shapes.items():
                if name not in stored:
                    msg = f"{shown} has no tensor {name}: it holds {', '.join(sorted(stored))}"
                    raise WrongRequest(msg)
                found = tuple(opened.get_slice(name).get_shape())
                if found != shape:
                    msg = f"{shown}: {name} has shape {list(found)}, its config asks for {list(shape)}"
                    raise WrongRequest(msg)
            tensors = {name: opened.get_tensor(name).float() for name in shapes}
    except (SafetensorError, OSError) as error:
        msg = f"{shown} is not a whole safetensors file ({error}): fetch the checkpoint again"
        raise WrongRequest(msg) from error
    except (RuntimeError, AssertionError) as error:  # how torch says that a device is missing or full
        msg = f"{shown} does not go on the device {device} ({str(error).splitlines()[0]}): name another"
        raise WrongRequest(msg) from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            msg = f"{shown}: {name} holds NaN or infinity: the checkpoint is broken, use another"
            raise WrongRequest(msg)
    return tensors


def stored(file: Path, shown: str) -> frozenset[str]:
    """Names of the tensors in the file."""
    try:
        with safe_open(file, framework="pt") as opened:
            return frozenset(opened.keys())
    except (SafetensorError, OSError) as error:
        msg = f"{shown} is not a whole safetensors file ({error}): fetch the checkpoint again"
        raise WrongRequest(msg) from error
