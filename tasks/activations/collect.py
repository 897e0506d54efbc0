"""Firings of several coders on packed sequences, sorted for the `activations` table, and statistics of sites.

One call handles one shard of sequences, which bounds the memory; nothing is written here. Statistics are the mean and
the standard deviation of each coordinate of a site's vectors.
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
"""Mantissa bits, of 23, that activations are rounded by: 11 significant bits are left, as in half precision."""


class HookedCoder(NamedTuple):
    """A coder and the site whose vectors it reads."""

    site: Site
    coder: SparseCoder
    target: Site | None = None
    """The site that it reconstructs: the same one, or a transcoder's output site; None where none can be compared."""


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
    """The vectors of a batch of sequences at each site."""

    flat: Tensor
    """[tokens] int32 on the sites' device: index of each vector's token over all sequences."""
    vectors: dict[Site, Tensor]
    """[tokens, d] each."""


class _BatchFirings(NamedTuple):
    """Firings of one coder on one batch, still on its device."""

    feature: Tensor
    """[n] int32."""
    flat: Tensor
    """[n] int32: index of the token over all sequences."""
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
    """Every firing on `tokens` [sequences, length], by coder, computed in batches of `batch` sequences.

    Firings on the beginning-of-sequence token are left out unless `keep_bos`: it attracts attention that has nothing to
    do with the text. Where a tokenizer has no such token, the first position is left out instead. Activations are
    rounded to 11 significant bits: the precision of float16, with the range of float32. Raises `RunFailed` where a
    token has no embedding or the model gives NaN or infinity.
    """
    try:
        subject.refuse_unknown(tokens)
    except WrongRequest as error:
        # Checked before anything was written, so the corpus has changed since.
        raise RunFailed(str(error)) from error
    pieces: dict[str, list[_BatchFirings]] = {name: [] for name in coders}
    finite: list[tuple[Site, Tensor, Tensor]] = []
    for batch_vectors in site_vectors(
        subject, [at.site for at in coders.values()], tokens, batch, keep_bos=keep_bos
    ):
        # Read only after the last batch, since reading a result makes the host wait for the device.
        finite.extend(
            (site, batch_vectors.flat, torch.isfinite(x).all()) for site, x in batch_vectors.vectors.items()
        )
        for name, (site, coder, _) in coders.items():
            fired = coder.encode(batch_vectors.vectors[site])
            # int32 from here on: it halves a shard's memory and sorts faster.
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
    """The vectors at the sites, `batch` sequences at a time; see `firings` for `keep_bos`."""
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
    """The batches' firings, each ordered by token, as columns sorted by feature first; one copy from the device.

    Empties `pieces` and frees each column once it is sorted, since a shard's firings take most of the memory.
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
    fired = columns.activation != 0  # rounding takes the very smallest numbers to 0
    return columns if fired.all() else FiringColumns(*(column[fired] for column in columns))


def round_activations(activation: Tensor) -> Tensor:
    """Round float32 numbers to 11 significant bits, ties to even.

    The range stays that of float32, except that the very smallest numbers become zero and the very largest infinity.
    """
    bits = activation.view(torch.int32)
    odd = (bits >> ROUNDED_BITS) & 1
    half = (1 << (ROUNDED_BITS - 1)) - 1
    return ((bits + half + odd) & -(1 << ROUNDED_BITS)).view(torch.float32)


def _by_feature(feature: Tensor) -> Tensor:
    """Indices that sort `feature` [n] int32 stably.

    On a CPU, NumPy's radix sort of 16-bit numbers, run twice, is several times faster than a 32-bit sort of either
    NumPy or PyTorch.
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

    The beginning-of-sequence token is left out: its vector is enormous in many models. A coordinate with the same value
    on all tokens gets the deviation 1. Raises `WrongRequest` where vectors are not finite.
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
