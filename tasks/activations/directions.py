"""What a feature's decoder row says by itself: the tokens it raises and lowers, the rows nearest to it.

Knows weights, no data. Nothing of size width x width is ever held.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tasks.activations.model import LoadedSubject
from tasks.activations.pack import texts
from tasks.coders.dictionary import SparseCoder

BLOCK = 2**14
"""Decoder rows that a block of features is compared with at once."""

Logits = list[dict[str, str | float]]
Neighbours = list[dict[str, int | float]]


class Direction(NamedTuple):
    """Columns of the `features` table for one feature."""

    feature: int
    top_logits: Logits | None
    """Tokens raised most; null where the coder does not write the residual stream's width."""
    bottom_logits: Logits | None
    """Tokens lowered most."""
    neighbours: Neighbours
    """Nearest other features by the cosine of their decoder rows."""


class Reading(NamedTuple):
    """How decoder rows become logits."""

    unembedding: Tensor
    """[vocab, d_model] float32, the final norm's gain folded in if wanted."""
    tokenizer: PreTrainedTokenizerFast


def reading(subject: LoadedSubject, *, fold_norm: bool = True) -> Reading:
    """The unembedding of a model; `fold_norm` multiplies it by the gain of the norm before it."""
    rows = subject.unembedding()
    gain = subject.final_norm_gain() if fold_norm else None
    return Reading(rows if gain is None else rows * gain, subject.tokenizer)


@torch.inference_mode()
def directions(coder: SparseCoder, features: Sequence[int], read: Reading, k: int = 10) -> list[Direction]:
    """The k top and bottom logits and the k nearest neighbours of a block of features."""
    chosen = torch.as_tensor(list(features), dtype=torch.int64, device=coder.decoder.device)
    tops: list[tuple[Logits | None, Logits | None]] = [(None, None)] * len(features)
    if coder.d_out == read.unembedding.shape[1]:
        tops = list(_logits(coder.decoder[chosen], read, k))
    near = neighbours(coder.decoder, chosen, k)
    return [
        Direction(feature, top, bottom, close)
        for feature, (top, bottom), close in zip(features, tops, near, strict=True)
    ]


def neighbours(decoder: Tensor, chosen: Tensor, k: int, block: int = BLOCK) -> list[Neighbours]:
    """The k features whose decoder rows [width, d_out] are nearest to each chosen one's, itself left out."""
    mine = _unit(decoder[chosen])
    cosine = mine.new_empty(len(chosen), 0)
    feature = chosen.new_empty(len(chosen), 0)
    for first in range(0, len(decoder), block):
        there = torch.arange(first, min(first + block, len(decoder)), device=decoder.device)
        new = (mine @ _unit(decoder[there]).T).masked_fill(chosen[:, None] == there, -torch.inf)
        cosine = torch.cat([cosine, new], 1)
        feature = torch.cat([feature, there.expand(len(chosen), -1)], 1)
        best = cosine.topk(min(k, cosine.shape[1]), dim=1)
        cosine, feature = best.values, feature.gather(1, best.indices)
    return [
        [{"feature": f, "cosine": c} for f, c in zip(fs, cs, strict=True) if c > -torch.inf]
        for fs, cs in zip(feature.tolist(), cosine.tolist(), strict=True)
    ]


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows.float(), dim=1)


def _logits(rows: Tensor, read: Reading, k: int) -> list[tuple[Logits, Logits]]:
    logits = rows.to(read.unembedding) @ read.unembedding.T
    k = min(k, logits.shape[1])
    ends = [logits.topk(k, dim=1), logits.topk(k, dim=1, largest=False)]
    wanted = sorted({token for end in ends for token in end.indices.flatten().tolist()})
    strings = dict(zip(wanted, texts(read.tokenizer, wanted), strict=True))
    named = [
        [
            [{"token": strings[t], "logit": v} for t, v in zip(ts, vs, strict=True)]
            for ts, vs in zip(end.indices.tolist(), end.values.tolist(), strict=True)
        ]
        for end in ends
    ]
    return list(zip(*named, strict=True))
