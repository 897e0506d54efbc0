"""Firings of many coders on packed sequences, sorted for the `activations` table.

Knows models and coders, not where rows go. Memory is bounded by the sequences it is given: a shard.

Mean and deviation of a site's vectors, coordinate by coordinate, on some sequences.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from storage.errors import RunFailed, WrongRequest
from tasks.activations.hooks import capture_vectors
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.coders.base import SiteStatistics
from tasks.coders.sparse_coder import SparseCoder

ROUNDED_BITS = 13
"""Bits of an activation's 23 that are rounded away: 11 significant ones are left, as many as a half has."""


class HookedCoder(NamedTuple):
    """A coder and the site whose vectors it reads."""

    site: Site
    coder: SparseCoder
    target: Site | None = None
    """The site that it reconstructs: its own one, a transcoder's other one, null where none can be compared."""


class FiringColumns(NamedTuple):
    """Firings of one coder, sorted by feature, sequence and position."""

    feature: np.ndarray
    """[n] int32."""
    sequence: np.ndarray
    """[n] int64."""
    position: np.ndarray
    """[n] int32."""
    activation: np.ndarray
    """[n] float32."""


class VectorBatch(NamedTuple):
    """The vectors of some sequences at each site."""

    flat: Tensor
    """[tokens] int32 on the sites' device: which tokens the vectors are of, counted through all sequences."""
    vectors: dict[Site, Tensor]
    """[tokens, d] each."""


class _BatchFirings(NamedTuple):
    """Firings of one coder on one batch, where they were made."""

    feature: Tensor
    """[n] int32."""
    flat: Tensor
    """[n] int32: the token, counted through all sequences."""
    activation: Tensor
    """[n] float32."""


def firings(
    subject: LoadedSubject,
    coders: Mapping[str, HookedCoder],
    tokens: np.ndarray,
    first_sequence: int,
    batch: int = 32,
    *,
    keep_bos: bool = False,
) -> dict[str, FiringColumns]:
    """Every firing on `tokens` [sequences, length], by coder; `batch` sequences pass at once.

    Firings on the beginning-of-sequence token are left out unless `keep_bos`: it draws attention that
    has nothing to do with its text. Where a tokenizer has none, the first position takes that role.
    Activations are rounded to 11 significant bits, those of a half-precision number without its narrow range.
    """
    try:
        subject.refuse_unknown(tokens)
    except WrongRequest as error:
        # Looked for before anything was written, unless the corpus has changed since.
        raise RunFailed(str(error)) from error
    pieces: dict[str, list[_BatchFirings]] = {name: [] for name in coders}
    finite: list[tuple[Site, Tensor, Tensor]] = []
    for batch_vectors in site_vectors(
        subject, [at.site for at in coders.values()], tokens, batch, keep_bos=keep_bos
    ):
        # Looked at when all is done, since a look makes the host wait for the device.
        finite.extend(
            (site, batch_vectors.flat, torch.isfinite(x).all()) for site, x in batch_vectors.vectors.items()
        )
        for name, (site, coder, _) in coders.items():
            fired = coder.encode(batch_vectors.vectors[site])
            # int32 from here on: half the memory of a shard, and the sort's faster width.
            piece = _BatchFirings(
                fired.feature.int(), batch_vectors.flat[fired.token], fired.activation.float()
            )
            pieces[name].append(piece)
    for site, flat, is_finite in finite:
        if not is_finite:
            _refuse_overflow(site, first_sequence + int(flat[0]) // tokens.shape[1])
    return {name: _columns(pieces.pop(name), tokens.shape[1], first_sequence) for name in coders}


def site_vectors(
    subject: LoadedSubject, sites: Sequence[Site], tokens: np.ndarray, batch: int, *, keep_bos: bool
) -> Iterator[VectorBatch]:
    """The vectors at the sites, `batch` sequences at a time, without those of left-out positions."""
    length = tokens.shape[1]
    modules = {site: subject.resolve(site) for site in sites}
    with torch.inference_mode(), capture_vectors(subject.model, modules) as forward:
        for first in range(0, len(tokens), batch):
            sequences = np.ascontiguousarray(tokens[first : first + batch], dtype=np.int64)
            kept = np.flatnonzero(
                np.ones(sequences.size, bool) if keep_bos else _has_text(sequences, subject.bos)
            )
            captured = forward(torch.from_numpy(sequences).to(subject.device))
            kept_rows = torch.from_numpy(kept).to(subject.device)
            flat = (kept_rows + first * length).int()
            yield VectorBatch(
                flat, {site: x.flatten(0, 1).index_select(0, kept_rows) for site, x in captured.items()}
            )


def _has_text(tokens: np.ndarray, bos: int | None) -> np.ndarray:
    """Which of the tokens [sequences, length] are not the beginning-of-sequence token."""
    if bos is not None:
        return tokens != bos
    return np.broadcast_to(np.arange(tokens.shape[1]) > 0, tokens.shape)


def _columns(pieces: list[_BatchFirings], length: int, first_sequence: int) -> FiringColumns:
    """The pieces, each ordered by token, as one table ordered by feature first; leaves the device once.

    Empties `pieces` and frees each column as soon as its sorted copy is there: memory goes to a shard's firings.
    """
    if not pieces:
        return FiringColumns(*(np.empty(0, kind) for kind in (np.int32, np.int64, np.int32, np.float32)))
    feature, flat, activation = (torch.cat(column) for column in zip(*pieces, strict=True))
    pieces.clear()
    order = _by_feature(feature)
    feature = feature[order].cpu().numpy()
    activation = round_activations(activation[order]).cpu().numpy()
    flat = flat[order].cpu().numpy()
    del order
    sequence = np.floor_divide(flat, length, dtype=np.int64)
    sequence += first_sequence
    columns = FiringColumns(feature, sequence, np.remainder(flat, length, dtype=np.int32), activation)
    fired = columns.activation != 0  # smaller than any number that 11 bits can hold
    return columns if fired.all() else FiringColumns(*(column[fired] for column in columns))


def round_activations(activation: Tensor) -> Tensor:
    """float32 numbers to the nearest with 11 significant bits, ties to the even one.

    Their range stays but for the last numbers at its two ends, which become zero and infinity.
    """
    bits = activation.view(torch.int32)
    odd = (bits >> ROUNDED_BITS) & 1
    half = (1 << (ROUNDED_BITS - 1)) - 1
    return ((bits + half + odd) & -(1 << ROUNDED_BITS)).view(torch.float32)


def _by_feature(feature: Tensor) -> Tensor:
    """A stable order by feature [n] int32.

    On a CPU NumPy sorts 16 bits by radix, several times faster than PyTorch or itself sort 32.
    """
    if feature.device.type != "cpu":
        return torch.sort(feature, stable=True).indices
    numbers = feature.numpy()
    order = np.argsort((numbers & 0xFFFF).astype(np.uint16), kind="stable")
    high = (numbers >> 16).astype(np.uint16)
    return torch.from_numpy(order[np.argsort(high[order], kind="stable")] if high.any() else order)


def _refuse_overflow(site: Site, sequence: int) -> None:
    msg = (
        f"the subject model gives NaN or infinity at {site} in sequences from {sequence}: "
        "run it in bfloat16 or float32"
    )
    raise RunFailed(msg)


def measure_statistics(
    subject: LoadedSubject, sites: Sequence[Site], tokens: np.ndarray
) -> dict[Site, SiteStatistics]:
    """Each site's statistics on `tokens` [sequences, length], one batch, in float64.

    Without the beginning-of-sequence token, whose vector is enormous in many models. A coordinate that is the same on
    all tokens has the deviation 1. Raises `WrongRequest` where vectors are not finite.
    """
    statistics = {}
    for site, x in next(site_vectors(subject, sites, tokens, len(tokens), keep_bos=False)).vectors.items():
        values = x.double()
        mean, deviation = values.mean(0), values.std(0, correction=0)
        if not deviation.isfinite().all():
            msg = f"the subject model gives NaN or infinity at {site}: run it in bfloat16 or float32"
            raise WrongRequest(msg)
        deviation = deviation.where(deviation > 0, 1)
        statistics[site] = SiteStatistics(tuple(mean.tolist()), tuple(deviation.tolist()))
    return statistics
