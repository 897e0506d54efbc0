"""Firings of many coders on packed sequences, sorted for the `activations` table.

Knows models and coders, not where rows go. Memory is bounded by the sequences it is given: a shard.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from storage.errors import RunFailed
from tasks.activations.hooks import capturing
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.coders.dictionary import Firings, SparseCoder


class Hooked(NamedTuple):
    """A coder and the site whose vectors it reads."""

    site: Site
    coder: SparseCoder


class Columns(NamedTuple):
    """Firings of one coder, sorted by feature, sequence and position."""

    feature: np.ndarray
    """[n] int32."""
    sequence: np.ndarray
    """[n] int64."""
    position: np.ndarray
    """[n] int32."""
    activation: np.ndarray
    """[n] float32."""


class Batch(NamedTuple):
    """The vectors of some sequences at each site."""

    flat: np.ndarray
    """[tokens] int64: which tokens the vectors are of, counted through all sequences."""
    vectors: dict[Site, Tensor]
    """[tokens, d] each."""


def firings(
    subject: LoadedSubject,
    coders: Mapping[str, Hooked],
    tokens: np.ndarray,
    first_sequence: int,
    batch: int = 32,
    *,
    keep_bos: bool = False,
) -> dict[str, Columns]:
    """Every firing on `tokens` [sequences, length], by coder; `batch` sequences pass at once.

    Firings on the beginning-of-sequence token are left out unless `keep_bos`: it draws attention that
    has nothing to do with its text. Where a tokenizer has none, the first position takes that role.
    """
    pieces: dict[str, list[Columns]] = {name: [] for name in coders}
    sites = [hooked.site for hooked in coders.values()]
    length = tokens.shape[1]
    for found in vectors(subject, sites, tokens, batch, keep_bos=keep_bos):
        for name, (site, coder) in coders.items():
            x = found.vectors[site]
            if not torch.isfinite(x).all():
                msg = (
                    f"the subject model gives NaN or infinity at {site} in sequences from "
                    f"{first_sequence + found.flat[0] // length}: run it in bfloat16 or float32"
                )
                raise RunFailed(msg)
            pieces[name].append(_columns(coder.encode(x), found.flat, length, first_sequence))
    return {name: _sorted(columns) for name, columns in pieces.items()}


def vectors(
    subject: LoadedSubject, sites: Sequence[Site], tokens: np.ndarray, batch: int, *, keep_bos: bool
) -> Iterator[Batch]:
    """The vectors at the sites, `batch` sequences at a time, without those of left-out positions."""
    length = tokens.shape[1]
    modules = {site: subject.resolve(site) for site in sites}
    with torch.inference_mode(), capturing(subject.model, modules) as forward:
        for first in range(0, len(tokens), batch):
            some = np.ascontiguousarray(tokens[first : first + batch], dtype=np.int64)
            kept = np.flatnonzero(np.ones(some.size, bool) if keep_bos else _has_text(some, subject.bos))
            found = forward(torch.from_numpy(some).to(subject.device))
            here = torch.from_numpy(kept).to(subject.device)
            yield Batch(
                kept + first * length,
                {site: x.flatten(0, 1).index_select(0, here) for site, x in found.items()},
            )


def _has_text(tokens: np.ndarray, bos: int | None) -> np.ndarray:
    """Which of the tokens [sequences, length] are not the beginning-of-sequence token."""
    if bos is not None:
        return tokens != bos
    return np.broadcast_to(np.arange(tokens.shape[1]) > 0, tokens.shape)


def _columns(fired: Firings, flat: np.ndarray, length: int, first_sequence: int) -> Columns:
    sequence, position = np.divmod(flat[fired.token.cpu().numpy()], length)
    return Columns(
        fired.feature.to(torch.int32).cpu().numpy(),
        sequence + first_sequence,
        position.astype(np.int32),
        fired.activation.cpu().numpy(),
    )


def _sorted(pieces: Sequence[Columns]) -> Columns:
    """The pieces, each ordered by sequence and position, as one table ordered by feature first."""
    if not pieces:
        return Columns(*(np.empty(0, kind) for kind in (np.int32, np.int64, np.int32, np.float32)))
    columns = Columns(*(np.concatenate(column) for column in zip(*pieces, strict=True)))
    order = _by_feature(columns.feature)
    return Columns(*(column[order] for column in columns))


def _by_feature(feature: np.ndarray) -> np.ndarray:
    """A stable order by feature. NumPy sorts 16 bits by radix, several times faster than 32 by merging."""
    order = np.argsort((feature & 0xFFFF).astype(np.uint16), kind="stable")
    high = (feature >> 16).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")] if high.any() else order
