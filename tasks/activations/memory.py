"""Gives memory that is free inside of this process back to the system.

How many sequences pass through the model at once. Knows memory, nothing of models.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache

import pyarrow as pa
import torch

CPU = 32
"""Sequences at once on a CPU, where more gain nothing."""

MOST_TOKENS = 2**16
"""Tokens at once that fill any GPU; more only take memory."""

SHARE = 0.5
"""Of a GPU's memory, what a batch may take: the rest is for the coders' blocks and the firings of a shard."""


def found(device: torch.device, length: int, held: int, forward: Callable[[int], object]) -> int:
    """Sequences of `length` tokens to pass at once: on a GPU the largest power of two that fits.

    `held` is what the model and all of the run's coders take, in bytes. `forward` runs that many sequences. What it
    takes is measured on one and two and is linear in them. Only memory
    decides and not time, so that machines of one kind find the same number and write the same bytes.
    """
    if device.type != "cuda":
        return CPU
    forward(1)  # what libraries set up once is no sequence's
    taken = [_taken(device, forward, sequences) for sequences in (1, 2)]
    # Allocators round up, so that the second one may seem to take nothing.
    each = max(1, taken[1] - taken[0], taken[1] // 4)
    total = torch.cuda.get_device_properties(device).total_memory
    return fitting(each, int(SHARE * (total - held)), length)


def fitting(each: int, room: int, length: int) -> int:
    """The largest power of two of sequences of `length` tokens that takes at most `room` bytes, `each` for one."""
    most = max(1, min(room // each, MOST_TOKENS // length))
    return 1 << (most.bit_length() - 1)


def _taken(device: torch.device, forward: Callable[[int], object], sequences: int) -> int:
    """Bytes that a pass needs at its peak beyond what was there."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    forward(sequences)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def give_back() -> None:
    """Return what allocators keep for later. Threads that take turns at shards would keep more and more of it."""
    pa.default_memory_pool().release_unused()
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> "ctypes._NamedFuncPointer | None":
    """glibc's malloc_trim; null where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
