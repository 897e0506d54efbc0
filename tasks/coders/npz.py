"""Arrays of an `.npz` file, mapped one by one: a file of 19 GB costs no memory until its arrays are used.

An `.npz` is a zip archive of `.npy` files. numpy stores them uncompressed by default, so that each array is
a stretch of the archive that can be mapped as it lies; compressed ones are read by streaming. No pickle.
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders import tensors
from tasks.coders.base import Expected

_ENDING = ".npy"

_WIDEST = 8
"""Bytes of the widest number that torch knows."""

_PIECE = 2**20
"""Bytes of a compressed array that are unpacked at once."""

_LOCAL_HEADER = 30
"""Bytes of a zip entry's header before its name and its extra field."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError)
"""What reading an archive raises that is cut short, overwritten, encrypted or none."""


class _Stored(NamedTuple):
    """An array in the archive."""

    entry: zipfile.ZipInfo
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int
    """Offset of its numbers in its `.npy` file."""


def read(file: Path, shown: str, expected: Expected) -> dict[str, Tensor]:
    """The expected arrays as tensors, each checked; `shown` is the file as the user knows it.

    A file with any other array is refused. float32 whatever is stored; what is stored in float32 and not
    compressed stays mapped from the file.
    """
    with _opened(file, shown) as archive:
        arrays = _arrays(archive, shown)
        tensors.require(shown, expected.shapes, _shapes(arrays))
        expected.refuse_others(shown, arrays)
        wanted = {name: arrays[name] for name in expected.shapes}
        found = {
            name: torch.from_numpy(_array(file, archive, array)).float() for name, array in wanted.items()
        }
    tensors.require_finite(shown, found)
    return found


def stored(file: Path, shown: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays in the file, by name."""
    with _opened(file, shown) as archive:
        return _shapes(_arrays(archive, shown))


@contextmanager
def _opened(file: Path, shown: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except WrongRequest:
        raise
    except _BROKEN as error:
        msg = f"{shown} is not a whole npz file ({error}): fetch the checkpoint again"
        raise WrongRequest(msg) from error


def _arrays(archive: zipfile.ZipFile, shown: str) -> dict[str, _Stored]:
    entries = [entry for entry in archive.infolist() if entry.filename.endswith(_ENDING)]
    return {entry.filename.removesuffix(_ENDING): _header(archive, entry, shown) for entry in entries}


def _shapes(arrays: Mapping[str, _Stored]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shown: str) -> _Stored:
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
    return _Stored(entry, shape, fortran, dtype, start)


def _array(file: Path, archive: zipfile.ZipFile, array: _Stored) -> np.ndarray:
    """The array in the machine's byte order."""
    order = "F" if array.fortran else "C"
    if array.entry.compress_type == zipfile.ZIP_STORED:
        start = _start(file, array.entry) + array.start
        # Copied on write: torch takes no array that it may not write to.
        found = np.memmap(file, array.dtype, mode="c", offset=start, shape=array.shape, order=order)
    else:
        found = np.empty(array.shape, array.dtype, order=order)
        flat, done = found.reshape(-1, order=order).view(np.uint8), 0
        with archive.open(array.entry) as opened:
            opened.read(array.start)
            while done < len(flat):
                some = np.frombuffer(opened.read(_PIECE), np.uint8)
                if not len(some):
                    msg = f"{array.entry.filename} ends after {done} of {len(flat)} bytes"
                    raise EOFError(msg)
                flat[done : done + len(some)] = some
                done += len(some)
    return found.astype(array.dtype.newbyteorder("="), copy=False)


def _start(file: Path, entry: zipfile.ZipInfo) -> int:
    """Where the entry's bytes begin in the archive; its own header may be longer than the directory says."""
    with file.open("rb") as opened:
        opened.seek(entry.header_offset)
        header = opened.read(_LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return entry.header_offset + _LOCAL_HEADER + name + extra
