"""Files of `torch.save`, read with `weights_only=True`: tensors and plain values come out, no code runs."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders import tensors
from tasks.coders.base import Expected

_ZIP = b"PK\x03\x04"
_CLASS = re.compile(r"GLOBAL (?P<name>[\w.]+)")


def read(file: Path, shown: str, expected: Expected) -> dict[str, Tensor]:
    """The expected tensors, each checked; `shown` is the file as the user knows it.

    A file with any other tensor is refused. float32 whatever is stored; what is stored in float32 stays
    mapped from the file.
    """
    return checked(load(file, shown), shown, expected)


def stored(file: Path, shown: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors at the top of the file, by name."""
    return shapes_of(load(file, shown))


def load(file: Path, shown: str) -> dict[str, object]:
    """All that the file holds: tensors, numbers, strings and dicts and lists of them, by name.

    Tensors are mapped from the file, which costs no memory until they are used, and on the CPU. Raises
    `WrongRequest` for a file that is not whole, that holds a pickled class, or that holds no dict.
    """
    try:
        with file.open("rb") as opened:
            # What torch wrote before version 1.6 is no archive, and cannot be mapped.
            mapped = opened.read(len(_ZIP)) == _ZIP
        # torch warns of pickle protocols that it did not choose itself, and reads them all the same.
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # bytes that are no pickle fail in as many ways as there are bytes
        raise _broken(shown, error) from error
    if not isinstance(content, dict):
        msg = f"{shown} holds a {type(content).__name__}, not tensors by name: save the coder's state dict"
        raise WrongRequest(msg)
    return {str(name): value for name, value in content.items()}


def checked(content: Mapping[str, object], shown: str, expected: Expected) -> dict[str, Tensor]:
    """The expected tensors out of (a part of) what `load` gave, checked, as float32; refuses any other tensor."""
    tensors.require(shown, expected.shapes, shapes_of(content))
    there = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    expected.refuse_others(shown, there)
    named = {name: value for name, value in there.items() if name in expected.shapes}
    found = {name: value.detach().float() for name, value in named.items()}
    tensors.require_finite(shown, found)
    return found


def shapes_of(content: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Shapes of the dense tensors in (a part of) what `load` gave, by name."""
    return {
        name: tuple(value.shape)
        for name, value in content.items()
        if isinstance(value, Tensor) and value.layout == torch.strided
    }


def matrix(content: Mapping[str, object], shown: str, name: str) -> tuple[int, int]:
    """The shape of a matrix by whose shape the others are checked."""
    there = shapes_of(content)
    tensors.require(shown, {name: there.get(name, ())}, there)
    if len(there[name]) != 2:
        msg = f"{shown}: {name} has shape {list(there[name])}, where a matrix is expected"
        raise WrongRequest(msg)
    rows, columns = there[name]
    return rows, columns


def _broken(shown: str, error: Exception) -> WrongRequest:
    pickled = _CLASS.search(str(error))
    if pickled:
        return WrongRequest(
            f"{shown} holds a pickled {pickled['name']}, which would run code when it is read: save the coder's "
            "state dict instead, tensors by name"
        )
    # torch's own words on it are a page of advice.
    of_another_kind = isinstance(error, pickle.UnpicklingError)
    reason = (
        "its pickle is of another kind"
        if of_another_kind
        else str(error).strip().split("\n")[0].split(". ")[0]
    )
    return WrongRequest(
        f"{shown} is not a whole file of torch.save ({reason or 'it ends too early'}): fetch the checkpoint "
        "again, or save its state dict with torch.save's defaults"
    )
