"""The one sparse coder that every format loads into: vectors to firings, firings to vectors.

Knows no files and no formats. Firings stay sparse: no dense matrix of activations outlives a block.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

BLOCK_BYTES = 2**28
"""Bound on the pre-activations that are held at once."""

EPSILON = 1e-5
"""Added to the standard deviation, as SAELens and OpenAI's coders do."""

Normalisation = Literal["none", "layer_norm", "constant_norm_rescale"]


class Firings(NamedTuple):
    """Nonzero activations, ordered by token; inside a token in no particular order."""

    token: Tensor
    """[n] int64: row of the input."""
    feature: Tensor
    """[n] int64."""
    activation: Tensor
    """[n] float32, all above zero."""


class Scaled(NamedTuple):
    """Normalised vectors and what takes them back: `x * scale + shift`."""

    x: Tensor
    """[tokens, d_in]."""
    shift: Tensor
    """[tokens, 1]."""
    scale: Tensor
    """[tokens, 1]."""


@dataclass(frozen=True)
class TopK:
    """The k largest pre-activations of a token fire, if above zero."""

    k: int

    @property
    def declared_l0(self) -> int | None:
        """Features that fire on a token, as the coder promises."""
        return self.k

    def fire(self, pre: Tensor) -> Firings:
        """What fires of pre-activations [tokens, width]."""
        top = torch.topk(pre, self.k, dim=-1, sorted=False)
        above = top.values > 0
        token = torch.arange(len(pre), device=pre.device)[:, None].expand_as(above)
        return Firings(token[above], top.indices[above], top.values[above])


@dataclass(frozen=True)
class JumpRelu:
    """A feature fires where its pre-activation is above its threshold and above zero; 0 is the ReLU."""

    threshold: Tensor
    """[width], or [] for one that all share."""

    @property
    def declared_l0(self) -> int | None:
        """Null: a threshold promises no count."""
        return None

    def fire(self, pre: Tensor) -> Firings:
        """What fires of pre-activations [tokens, width]."""
        above = (pre > self.threshold.clamp(min=0)).flatten().nonzero().squeeze(1)
        width = pre.shape[1]
        token = torch.div(above, width, rounding_mode="floor")
        return Firings(token, above - token * width, pre.flatten()[above])


Activation = TopK | JumpRelu


@dataclass(frozen=True)
class SparseCoder:
    """Weights and one rule of firing."""

    encoder: Tensor
    """[width, d_in]."""
    encoder_bias: Tensor
    """[width]."""
    centre: Tensor
    """[d_in]: subtracted from the (normalised) input; zero in coders that subtract nothing."""
    decoder: Tensor
    """[width, d_out]."""
    decoder_bias: Tensor
    """[d_out]."""
    activation: Activation
    normalisation: Normalisation = "none"

    @property
    def d_in(self) -> int:
        """Width of the vectors that it reads."""
        return self.encoder.shape[1]

    @property
    def d_out(self) -> int:
        """Width of the vectors that it writes."""
        return self.decoder.shape[1]

    @property
    def width(self) -> int:
        """Number of features."""
        return self.encoder.shape[0]

    @property
    def declared_l0(self) -> int | None:
        """Features that fire on a token, where the format promises a number."""
        return self.activation.declared_l0

    def encode(self, x: Tensor, block: int | None = None) -> Firings:
        """Firings on vectors [tokens, d_in], or [tokens, heads, d_head] with heads * d_head = d_in.

        `block` is how many tokens are encoded at once; it bounds memory and changes nothing else.
        """
        block = block or max(1, BLOCK_BYTES // (4 * self.width))
        pieces = []
        for first in range(0, max(1, len(x)), block):
            piece = x[first : first + block].flatten(1).to(self.encoder)
            fired = self.activation.fire(self._pre(self._scaled(piece).x))
            pieces.append(fired._replace(token=fired.token + first))
        return Firings(*(torch.cat(column) for column in zip(*pieces, strict=True)))

    def decode(self, firings: Firings, tokens: int) -> Tensor:
        """Vectors [tokens, d_out] that the firings stand for, normalised if the coder normalises."""
        rows = torch.arange(tokens, device=firings.token.device)
        return self.decoder_bias + functional.embedding_bag(
            firings.feature,
            self.decoder,
            torch.searchsorted(firings.token, rows),
            mode="sum",
            per_sample_weights=firings.activation,
        )

    def reconstruct(self, x: Tensor, firings: Firings) -> Tensor:
        """Decode the firings of vectors [tokens, d_in] back to where and how large the vectors were."""
        scaled = self._scaled(x.flatten(1).to(self.encoder))
        return self.decode(firings, len(x)) * scaled.scale + scaled.shift

    def _pre(self, x: Tensor) -> Tensor:
        return functional.linear(x - self.centre, self.encoder, self.encoder_bias)

    def _scaled(self, x: Tensor) -> Scaled:
        zero, one = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
        match self.normalisation:
            case "none":
                return Scaled(x, zero, one)
            case "layer_norm":
                # The unbiased deviation plus epsilon, not the root of variance plus epsilon.
                shift, scale = x.mean(-1, keepdim=True), x.std(-1, keepdim=True) + EPSILON
            case "constant_norm_rescale":
                shift, scale = zero, x.norm(dim=-1, keepdim=True) / x.shape[1] ** 0.5
                scale = torch.where(scale > 0, scale, one)
        return Scaled((x - shift) / scale, shift, scale)
