"""Named tensors of a checkpoint's files (safetensors, torch.save, npz), checked against expected shapes, as float32.

No reader runs code: files of `torch.save` are read with `weights_only=True`, and arrays of Python objects are refused.
Tensors are mapped from the file wherever they can be, so that a file of 19 GB costs no memory until it is used. An
`.npz` is a zip archive of `.npy` files; numpy stores them uncompressed by default, so that each array is a stretch of
the archive that can be mapped as it lies. Compressed arrays are streamed.
"""

import lzma
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.base import ExpectedTensors, Shapes


def read_safetensors(file: Path, shown: str, expected: ExpectedTensors) -> dict[str, Tensor]:
    """The expected tensors, each checked; `shown` is the file as the user knows it.

    A file with any other tensor is refused. float32 whatever is stored: near a threshold, half
    precision would decide whether a feature fires. What is stored in float32 stays mapped from the file.
    """
    stored = safetensors_shapes(file, shown)
    require_shapes(shown, expected.shapes, stored)
    expected.refuse_others(shown, stored)
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name).float() for name in expected.shapes}
    except (SafetensorError, OSError) as error:
        raise _broken_safetensors(shown, error) from error
    require_finite(shown, tensors)
    return tensors


def safetensors_shapes(file: Path, shown: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a safetensors file, by name."""
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _broken_safetensors(shown, error) from error


def require_shapes(shown: str, shapes: Shapes, stored: Shapes) -> None:
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


def _broken_safetensors(shown: str, error: Exception) -> WrongRequest:
    return WrongRequest(f"{shown} is not a whole safetensors file ({error}): fetch the checkpoint again")


BLOCK_BYTES = 2**26
"""Bound on what is read of the file at once: a whole decoder can be larger than a machine's memory."""


def summed_decoder(file: Path, shown: str, name: str, width: int, d: int) -> Tensor:
    """[width, d] float32: the decoder [width, layers, d] of a safetensors file, summed over its layers.

    The sum is what a feature adds to the residual stream in the end. Raises `WrongRequest` for a tensor
    that is missing, misshapen or not finite.
    """
    stored = safetensors_shapes(file, shown)
    shape = stored.get(name, ())
    layers = shape[1] if len(shape) == 3 else 1
    expected = ExpectedTensors(
        {name: (width, layers, d)}, "the decoder of one layer is all that belongs there"
    )
    require_shapes(shown, expected.shapes, stored)
    expected.refuse_others(shown, stored)
    total = torch.empty(width, d)
    rows = max(1, BLOCK_BYTES // (4 * max(1, layers) * d))
    with safe_open(file, framework="pt") as opened:
        decoder = opened.get_slice(name)
        for first in range(0, width, rows):
            total[first : first + rows] = decoder[first : first + rows].float().sum(1)
    require_finite(shown, {name: total})
    return total


_ZIP_MAGIC = b"PK\x03\x04"
_PICKLED_CLASS = re.compile(r"GLOBAL (?P<name>[\w.]+)")


def load_torch_file(file: Path, shown: str) -> dict[str, object]:
    """All that the file holds: tensors, numbers, strings and dicts and lists of them, by name.

    Tensors are mapped from the file, which costs no memory until they are used, and on the CPU. Raises
    `WrongRequest` for a file that is not whole, that holds a pickled class, or that holds no dict.
    """
    try:
        with file.open("rb") as opened:
            # What torch wrote before version 1.6 is no archive, and cannot be mapped.
            mapped = opened.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        # torch warns of pickle protocols that it did not choose itself, and reads them all the same.
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # bytes that are no pickle fail in as many ways as there are bytes
        raise _broken_torch_file(shown, error) from error
    if not isinstance(content, dict):
        msg = f"{shown} holds a {type(content).__name__}, not tensors by name: save the coder's state dict"
        raise WrongRequest(msg)
    return {str(name): value for name, value in content.items()}


def checked_tensors(
    content: Mapping[str, object], shown: str, expected: ExpectedTensors
) -> dict[str, Tensor]:
    """The expected tensors out of the content of a torch file, or a part of it, checked, as float32; refuses others."""
    require_shapes(shown, expected.shapes, tensor_shapes(content))
    stored = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    expected.refuse_others(shown, stored)
    tensors = {name: value.detach().float() for name, value in stored.items() if name in expected.shapes}
    require_finite(shown, tensors)
    return tensors


def tensor_shapes(content: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Shapes of the dense tensors in the content of a torch file, or of a part of it, by name."""
    return {
        name: tuple(value.shape)
        for name, value in content.items()
        if isinstance(value, Tensor) and value.layout == torch.strided
    }


def matrix_shape(content: Mapping[str, object], shown: str, name: str) -> tuple[int, int]:
    """Rows and columns of a matrix, from which the shapes of the other tensors follow."""
    shapes = tensor_shapes(content)
    require_shapes(shown, {name: shapes.get(name, ())}, shapes)
    if len(shapes[name]) != 2:
        msg = f"{shown}: {name} has shape {list(shapes[name])}, where a matrix is expected"
        raise WrongRequest(msg)
    rows, columns = shapes[name]
    return rows, columns


def _broken_torch_file(shown: str, error: Exception) -> WrongRequest:
    pickled = _PICKLED_CLASS.search(str(error))
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


_ENDING = ".npy"

_WIDEST = 8
"""Bytes of the widest number that torch knows."""

_PIECE_BYTES = 2**20
"""Bytes of a compressed array that are unpacked at once."""

_LOCAL_HEADER = 30
"""Bytes of a zip entry's header before its name and its extra field."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

_NPZ_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError)
"""What reading an archive raises that is cut short, overwritten, encrypted or none."""


class _StoredArray(NamedTuple):
    """An array in the archive."""

    entry: zipfile.ZipInfo
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int
    """Offset of its numbers in its `.npy` file."""


def read_npz(file: Path, shown: str, expected: ExpectedTensors) -> dict[str, Tensor]:
    """The expected arrays as tensors, each checked; `shown` is the file as the user knows it.

    A file with any other array is refused. float32 whatever is stored; what is stored in float32 and not
    compressed stays mapped from the file.
    """
    with _opened_npz(file, shown) as archive:
        arrays = _arrays(archive, shown)
        require_shapes(shown, expected.shapes, _array_shapes(arrays))
        expected.refuse_others(shown, arrays)
        wanted = {name: arrays[name] for name in expected.shapes}
        tensors = {
            name: torch.from_numpy(_array(file, archive, array)).float() for name, array in wanted.items()
        }
    require_finite(shown, tensors)
    return tensors


def npz_shapes(file: Path, shown: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays in the file, by name."""
    with _opened_npz(file, shown) as archive:
        return _array_shapes(_arrays(archive, shown))


@contextmanager
def _opened_npz(file: Path, shown: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except WrongRequest:
        raise
    except _NPZ_ERRORS as error:
        msg = f"{shown} is not a whole npz file ({error}): fetch the checkpoint again"
        raise WrongRequest(msg) from error


def _arrays(archive: zipfile.ZipFile, shown: str) -> dict[str, _StoredArray]:
    entries = [entry for entry in archive.infolist() if entry.filename.endswith(_ENDING)]
    return {entry.filename.removesuffix(_ENDING): _array_header(archive, entry, shown) for entry in entries}


def _array_shapes(arrays: Mapping[str, _StoredArray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _array_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shown: str) -> _StoredArray:
    name = entry.filename.removesuffix(_ENDING)
    with archive.open(entry) as opened:
        stream = cast("BinaryIO", opened)
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            msg = f"{shown}: {name} has named fields: gloss reads plain arrays of numbers"
            raise WrongRequest(msg)
        shape, fortran, dtype = _HEADERS[version](stream)
        start = stream.tell()
    if dtype.kind not in "fiu" or dtype.itemsize > _WIDEST:
        kind = "pickled Python objects, which run code when they are read" if dtype.hasobject else str(dtype)
        msg = f"{shown}: {name} holds {kind}: gloss reads arrays of numbers"
        raise WrongRequest(msg)
    if start + dtype.itemsize * int(np.prod(shape, dtype=object)) != entry.file_size:
        msg = f"{shown}: {name} is cut short: fetch the checkpoint again"
        raise WrongRequest(msg)
    return _StoredArray(entry, shape, fortran, dtype, start)


def _array(file: Path, archive: zipfile.ZipFile, array: _StoredArray) -> np.ndarray:
    """The array in the machine's byte order."""
    order = "F" if array.fortran else "C"
    if array.entry.compress_type == zipfile.ZIP_STORED:
        start = _start_of_entry(file, array.entry) + array.start
        # Copied on write: torch takes no array that it may not write to.
        values = np.memmap(file, array.dtype, mode="c", offset=start, shape=array.shape, order=order)
    else:
        values = np.empty(array.shape, array.dtype, order=order)
        flat, done = values.reshape(-1, order=order).view(np.uint8), 0
        with archive.open(array.entry) as opened:
            opened.read(array.start)
            while done < len(flat):
                piece = np.frombuffer(opened.read(_PIECE_BYTES), np.uint8)
                if not len(piece):
                    msg = f"{array.entry.filename} ends after {done} of {len(flat)} bytes"
                    raise EOFError(msg)
                flat[done : done + len(piece)] = piece
                done += len(piece)
    return values.astype(array.dtype.newbyteorder("="), copy=False)


def _start_of_entry(file: Path, entry: zipfile.ZipInfo) -> int:
    """Where the entry's bytes begin in the archive; its own header may be longer than the directory says."""
    with file.open("rb") as opened:
        opened.seek(entry.header_offset)
        header = opened.read(_LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return entry.header_offset + _LOCAL_HEADER + name + extra
