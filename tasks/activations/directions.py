"""Logits and nearest neighbours of features, from decoder and encoder rows alone.

A matrix of width x width is never in memory: rows are copied to the device in blocks, bounded by `BLOCK_BYTES`, however
wide the coder and however large the vocabulary.

Candidates are selected in float32 and ranked in float64. The result is therefore the same for every block size, device
and number of threads; rows with equal values are in the order of their index.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tasks.activations.model import LoadedSubject
from tasks.activations.pack import token_texts
from tasks.coders.sparse_coder import SparseCoder

BLOCK_BYTES = {"cpu": 2**26, "cuda": 2**28}
"""Bound on the bytes of products in memory, by type of device; copies of rows take as much again."""

FEATURES_AT_ONCE = 2**12
"""Features that are multiplied with a block at once."""

SPARE_ROWS = 16
"""Additional candidates selected in float32, so that rounding loses none of the best rows in float64."""

Logits = list[dict[str, str | float]]
Neighbours = list[dict[str, int | float]]
Rows = Callable[[Tensor], Tensor]


class FeatureDirection(NamedTuple):
    """Columns of the `features` table for one feature."""

    feature: int
    top_logits: Logits | None
    """Tokens raised most; None where none were requested or the decoder doesn't have the residual stream's width."""
    bottom_logits: Logits | None
    """Tokens lowered most."""
    neighbours: Neighbours | None
    """Nearest other features by the cosine of their decoder rows; None where not requested or without a decoder."""
    encoder_neighbours: Neighbours | None
    """The same by their encoder rows."""


class LogitLens(NamedTuple):
    """Unembedding, gain and token texts. Make it once and keep it: it decodes the whole vocabulary."""

    unembedding: Tensor
    """[vocab, d_model] in the model's dtype, on its device; products are computed in float32 and float64."""
    gain: Tensor | None
    """[d_model]: the gain of the final norm; None where it is left out."""
    strings: list[str]
    """The text of each token of the vocabulary."""


class TopRows(NamedTuple):
    """The rows with the largest products with each of n vectors, the largest first."""

    product: Tensor
    """[n, k] float32."""
    row: Tensor
    """[n, k] int64."""


def logit_lens(subject: LoadedSubject, *, fold_norm: bool = True) -> LogitLens:
    """The logit lens of a model; with `fold_norm` decoder rows are multiplied by the gain of the final norm."""
    rows = subject.unembedding()
    gain = subject.final_norm_gain() if fold_norm else None
    return LogitLens(rows, gain, token_texts(subject.tokenizer, range(len(rows))))


@torch.inference_mode()
def feature_directions(
    coder: SparseCoder,
    features: Sequence[int],
    read: LogitLens,
    *,
    logits: int = 10,
    neighbours: int = 10,
    encoder_neighbours: int = 0,
) -> list[FeatureDirection]:
    """The top and bottom logits (`logits` of each) and nearest neighbours of the given features; 0 leaves them out.

    The decoder may be on another device than the unembedding, or memory-mapped: only blocks of it are copied. Features
    whose decoder row is zero have neither logits nor neighbours: their lists are empty.
    """
    device = read.unembedding.device
    results: list[FeatureDirection] = []
    for first in range(0, len(features), FEATURES_AT_ONCE):
        chosen = torch.tensor(features[first : first + FEATURES_AT_ONCE])
        tops = bottoms = near = encoded = [None] * len(chosen)
        if coder.decoder is not None and logits and coder.d_out == read.unembedding.shape[1]:
            tops, bottoms = _logits(coder.decoder, chosen, read, logits)
        if coder.decoder is not None and neighbours:
            near = nearest_rows(coder.decoder, chosen, neighbours, device)
        if encoder_neighbours and len(coder.encoder):
            encoded = nearest_rows(coder.encoder, chosen, encoder_neighbours, device)
        results += map(FeatureDirection, chosen.tolist(), tops, bottoms, near, encoded)
    return results


def nearest_rows(weights: Tensor, chosen: Tensor, k: int, device: torch.device) -> list[Neighbours]:
    """For each chosen feature, the k others whose rows of decoder or encoder `weights` [width, d] are nearest."""
    rows = weights[chosen.to(weights.device)]
    alive = rows.any(dim=1).cpu()
    mine = rows[alive.to(rows.device)].double()
    (best,) = top_products(_unit(mine).to(device), weights, k, _unit, own=chosen[alive])
    return _listed(alive, best, lambda feature, cosine: {"feature": feature, "cosine": cosine})


def _logits(decoder: Tensor, chosen: Tensor, read: LogitLens, k: int) -> tuple[list[Logits], list[Logits]]:
    rows = decoder[chosen]
    alive = rows.any(dim=1).cpu()
    mine = rows[alive].to(read.unembedding.device, torch.float64)
    mine = mine if read.gain is None else mine * read.gain
    top, bottom = top_products(mine, read.unembedding, k, lambda rows: rows, ends=(1, -1))

    def named(token: int, logit: float) -> dict[str, str | float]:
        return {"token": read.strings[token], "logit": logit}

    return _listed(alive, top, named), _listed(alive, bottom._replace(product=-bottom.product), named)


def top_products(
    mine: Tensor,
    others: Tensor,
    k: int,
    prepare: Rows,
    *,
    ends: tuple[int, ...] = (1,),
    own: Tensor | None = None,
    block: int | None = None,
) -> list[TopRows]:
    """For each of `mine` [n, d] float64, the k rows of `others` [m, d] with the largest products: a `TopRows` per end.

    An end of -1 gives the rows with the smallest products, negated. `prepare` is applied to rows of `others` before
    they are multiplied; `own` [n] is the index of a row of `others` that each of `mine` leaves out; `block` is the
    number of rows multiplied at once, which affects memory only. Products equal in float32 are in the order of rows.
    """
    device, left = mine.device, len(others) - (own is not None)
    k, wanted = min(k, left), min(k + SPARE_ROWS, left)
    room = BLOCK_BYTES.get(device.type, BLOCK_BYTES["cpu"])
    block = block or max(1, room // (4 * max(1, len(mine), mine.shape[1])))
    own = None if own is None else own.to(device)
    best_by_end = [
        TopRows(mine.new_empty(len(mine), 0).float(), mine.new_empty(len(mine), 0).long()) for _ in ends
    ]
    longest, coarse = mine.new_zeros(()).float(), mine.float()
    for first in range(0, len(others), block):
        rows = prepare(others[first : first + block].to(device, torch.float32))
        longest = torch.maximum(longest, rows.norm(dim=1).max())
        products = coarse @ rows.T
        for place, end in enumerate(ends):
            new = _without(products * end if end < 0 else products, own, first)
            best_by_end[place] = _merged(best_by_end[place], new, first, wanted)
    # Bound on the error of a sum of d products in float32.
    slack = (mine.shape[1] + 8) * torch.finfo(torch.float32).eps * longest * coarse.norm(dim=1)
    results = []
    for end, candidates in zip(ends, best_by_end, strict=True):
        best = TopRows(
            *(column[:, :k] for column in _ranked(mine * end, others, candidates.row, prepare, room))
        )
        if 0 < k and wanted < left:
            unsure = candidates.product[:, -1] + slack >= best.product[:, -1]
            if unsure.any():
                whole = _all_ranked(
                    mine[unsure] * end, others, k, prepare, room, own=None if own is None else own[unsure]
                )
                best.product[unsure], best.row[unsure] = whole
        results.append(best)
    return results


def _merged(best: TopRows, products: Tensor, first: int, k: int) -> TopRows:
    """The k largest of the rows so far and of new products with rows from `first` on, unordered."""
    new = products.topk(min(k, products.shape[1]), dim=1, sorted=False)
    product = torch.cat([best.product, new.values], 1)
    row = torch.cat([best.row, new.indices + first], 1)
    kept = product.topk(min(k, product.shape[1]), dim=1)
    return TopRows(kept.values, row.gather(1, kept.indices))


def _ranked(mine: Tensor, others: Tensor, row: Tensor, prepare: Rows, room: int) -> TopRows:
    """The candidates [n, c] in the order of their products in float64, equal ones in the order of rows."""
    row = row.sort(dim=1).values
    # Small pieces whose products are written where they belong: small results that stay between freed copies of rows
    # would keep malloc from giving these again.
    size = max(1, room // (64 * max(1, row.shape[1]) * mine.shape[1]))
    products = mine.new_empty(row.shape)
    for piece, vectors, rows in zip(products.split(size), mine.split(size), row.split(size), strict=True):
        there = prepare(others[rows.flatten().to(others.device)].to(mine)).view(*rows.shape, -1)
        torch.sum(there.mul_(vectors[:, None]), 2, out=piece)
    return _sorted(products, row)


def _all_ranked(
    mine: Tensor, others: Tensor, k: int, prepare: Rows, room: int, *, own: Tensor | None
) -> TopRows:
    """As `top_products`, all in float64: for vectors with so many nearly equal products that float32 cannot select."""
    best = TopRows(mine.new_empty(len(mine), 0).float(), mine.new_empty(len(mine), 0).long())
    block = max(1, room // (8 * max(len(mine), mine.shape[1])))
    for first in range(0, len(others), block):
        rows = prepare(others[first : first + block].to(mine))
        new = _without(mine @ rows.T, own, first)
        there = torch.arange(first, first + len(rows), device=mine.device).expand(len(mine), -1)
        # Earlier rows stand first and the order is stable, so that equal ones stay in the order of rows.
        both = _sorted(torch.cat([best.product.to(new), new], 1), torch.cat([best.row, there], 1))
        best = TopRows(*(column[:, :k] for column in both))
    return best


def _sorted(products: Tensor, row: Tensor) -> TopRows:
    order = products.float().sort(dim=1, descending=True, stable=True)
    return TopRows(order.values, row.gather(1, order.indices))


def _without(products: Tensor, own: Tensor | None, first: int) -> Tensor:
    """Set each vector's product with its own row to minus infinity, in place; column 0 is the row `first`."""
    if own is not None:
        rows = ((own >= first) & (own < first + products.shape[1])).nonzero().squeeze(1)
        products[rows, own[rows] - first] = -torch.inf
    return products


def _unit(rows: Tensor) -> Tensor:
    return functional.normalize(rows, dim=1)


def _listed(alive: Tensor, best: TopRows, item: Callable[[int, float], Any]) -> list[list[Any]]:
    """The best rows as items: a list per feature, empty for features whose row is zero (not `alive`)."""
    lists = (
        [item(row, product) for row, product in zip(*pair, strict=True)]
        for pair in zip(best.row.tolist(), best.product.tolist(), strict=True)
    )
    return [next(lists) if lives else [] for lives in alive.tolist()]
