"""The sparse coder that every format loads into, with its variants: vectors to firings, firings to vectors.

Knows no files and no formats. Firings stay sparse: no dense matrix of activations outlives a block. Variants are coders
whose features are coordinates, matching pursuit (after sae_lens 6.54, saes/matching_pursuit_sae.py), transcoders that
normalise what they read, and coders of standardised coordinates.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tasks.coders.activation_functions import ActivationFunction, Firings

BLOCK_BYTES = {"cpu": 2**28, "cuda": 2**30}
"""Bound on the pre-activations that are held at once, by kind of device."""

BLOCK_TOKENS = {"cpu": 256, "cuda": 2**14}
"""Bound on the tokens of a block. On a CPU a block that stays in the caches is ranked twice as fast."""

EPSILON = 1e-5
"""Added to the standard deviation, as SAELens and OpenAI's coders do."""

Normalisation = Literal["none", "layer_norm", "constant_norm_rescale"]

SAME_SITE = ""
"""The target of a coder that reconstructs what it reads."""


class NormalisedVectors(NamedTuple):
    """Normalised vectors, with scale and shift to undo it: `x * scale + shift`."""

    x: Tensor
    """[tokens, d_in]."""
    shift: Tensor
    """[tokens, 1], or [1, d_in]."""
    scale: Tensor
    """[tokens, 1], or [1, d_in]."""


@dataclass(frozen=True)
class SparseCoder:
    """Weights and an activation function."""

    encoder: Tensor
    """[width, d_in]; any strides, so that a transposed checkpoint is not copied."""
    encoder_bias: Tensor
    """[width]."""
    centre: Tensor
    """[d_in]: subtracted from the (normalised) input; zero in coders that subtract nothing."""
    decoder: Tensor | None
    """[width, d_out]; null where it is unknown what features write. It stays where it was loaded, mapped
    from its file where possible: only a few of its rows are needed at a time. Rows of a coder that writes to several
    layers are the sums over them."""
    decoder_bias: Tensor | None
    """[d_out]."""
    activation: ActivationFunction
    normalisation: Normalisation = "none"
    skip: Tensor | None = None
    """[d_out, d_in]: the linear map of its raw input that a skip transcoder adds."""
    target: str | None = SAME_SITE
    """The site that it reconstructs, as its format names it; null where no site can be compared."""
    l0: float | None = None
    """Features that fire on a token as the checkpoint declares, where `activation` determines no number."""
    baseline: bool = False
    """Whether it was never trained to reconstruct: neurons, random weights."""

    @property
    def d_in(self) -> int:
        """Width of the vectors that it reads."""
        return self.encoder.shape[1]

    @property
    def d_out(self) -> int | None:
        """Width of the vectors that it writes; null if it writes none."""
        return None if self.decoder is None else self.decoder.shape[1]

    @property
    def width(self) -> int:
        """Number of features."""
        return self.encoder.shape[0]

    @property
    def declared_l0(self) -> float | None:
        """Features that fire on a token, where checkpoint or activation function determine a number."""
        return self.l0 if self.l0 is not None else self.activation.declared_l0

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "SparseCoder":
        """The coder with its encoding tensors on a device, the encoder in `dtype`; the decoder stays where it is.

        Raises `RuntimeError` when the device is full.
        """
        return replace(
            self,
            encoder=self.encoder.to(device, dtype),
            encoder_bias=self.encoder_bias.to(device),
            centre=self.centre.to(device),
            activation=self.activation.to(device),
        )

    def encode(self, x: Tensor, block: int | None = None) -> Firings:
        """Firings on vectors [tokens, d_in], or [tokens, heads, d_head] with heads * d_head = d_in.

        `block` is how many tokens are encoded at once; it bounds memory and changes nothing else.
        """
        kind = x.device.type
        most = BLOCK_BYTES.get(kind, BLOCK_BYTES["cpu"]) // (4 * self.width)
        block = block or max(1, min(most, BLOCK_TOKENS.get(kind, BLOCK_TOKENS["cpu"])))
        pieces = []
        # One for all blocks: memory fresh from the system costs as much as a third of the product.
        room = x.new_empty(min(block, len(x)), self.width, dtype=torch.float32)
        for first in range(0, max(1, len(x)), block):
            piece = x[first : first + block].flatten(1).float()
            fired = self._fire(self._scaled(piece).x - self.centre, room[: len(piece)])
            pieces.append(fired._replace(token=fired.token + first))
        return Firings(*(torch.cat(column) for column in zip(*pieces, strict=True)))

    def decode(self, firings: Firings, tokens: int) -> Tensor:
        """Vectors [tokens, d_out] decoded from the firings, normalised if the coder normalises.

        Raises `ValueError` when the coder has no decoder.
        """
        if self.decoder is None or self.decoder_bias is None:
            msg = "a coder without a decoder reconstructs nothing"
            raise ValueError(msg)
        there = self.decoder.device
        rows = torch.arange(tokens, device=firings.token.device)
        return self.decoder_bias + functional.embedding_bag(
            firings.feature.to(there),
            self.decoder,
            torch.searchsorted(firings.token, rows).to(there),
            mode="sum",
            per_sample_weights=firings.activation.to(there, self.decoder.dtype),
        )

    def reconstruct(self, x: Tensor, firings: Firings) -> Tensor:
        """Decode the firings of vectors [tokens, d_in] at the vectors' own position and scale."""
        raw = x.flatten(1).float()
        scaled = self._scaled(raw)
        decoded = self.decode(firings, len(x)).to(raw) * scaled.scale + scaled.shift
        return decoded if self.skip is None else decoded + raw @ self.skip.to(raw).T

    def _fire(self, x: Tensor, room: Tensor) -> Firings:
        """Firings on normalised and centred vectors [tokens, d_in]; `room` [tokens, width] is a buffer."""
        if self.encoder.dtype == torch.float32:
            torch.addmm(self.encoder_bias, x, self.encoder.T, out=room)
        else:
            # The bias is added in float32: near a threshold it decides whether a feature fires.
            torch.add(functional.linear(x.to(self.encoder.dtype), self.encoder), self.encoder_bias, out=room)
        return self.activation.fire(room)

    def _scaled(self, x: Tensor) -> NormalisedVectors:
        zeros, ones = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
        match self.normalisation:
            case "none":
                return NormalisedVectors(x, zeros, ones)
            case "layer_norm":
                # The unbiased deviation plus epsilon, not the root of variance plus epsilon.
                shift, scale = x.mean(-1, keepdim=True), x.std(-1, keepdim=True) + EPSILON
            case "constant_norm_rescale":
                shift, scale = zeros, x.norm(dim=-1, keepdim=True) / x.shape[1] ** 0.5
                scale = torch.where(scale > 0, scale, ones)
        return NormalisedVectors((x - shift) / scale, shift, scale)


@dataclass(frozen=True)
class CoordinateCoder(SparseCoder):
    """Each coordinate is a feature. Its encoder is the identity, stored as [0, d_in]: no product is computed."""

    @property
    def width(self) -> int:
        """Number of features, which is the number of coordinates."""
        return self.d_in

    def reconstruct(self, x: Tensor, firings: Firings) -> Tensor:
        """The firings of vectors [tokens, d_in] in their coordinates, zeros elsewhere.

        `decode` gives what they write into the model; this is what they keep of the site itself.
        """
        kept = torch.zeros_like(x.flatten(1), dtype=torch.float32)
        kept[firings.token, firings.feature] = firings.activation
        return kept

    def _fire(self, x: Tensor, room: Tensor) -> Firings:  # noqa: ARG002  (it computes no product)
        """Firings of the coordinates [tokens, d_in]."""
        return self.activation.fire(x)


@dataclass(frozen=True)
class MatchingPursuit(SparseCoder):
    """Matching pursuit: one feature at a time explains what the features before have left.

    Its encoder is its decoder, its encoder's bias is not used, and its activation function is the ReLU.
    """

    steps: int = 1
    """How many times a feature is chosen for a token, at most."""
    small: float = 0.0
    """Norm of the residual below which a token is done."""
    ends_on_repeat: bool = True
    """Whether a token is done when the feature that is chosen fires already."""

    def _fire(self, x: Tensor, room: Tensor) -> Firings:
        """Firings on normalised and centred vectors [tokens, d_in]; `room` [tokens, width] is a buffer."""
        sizes = room.zero_()
        token, left = torch.arange(len(x), device=x.device), x
        for _ in range(self.steps):
            if not len(token):
                break
            feature = functional.linear(left.to(self.encoder.dtype), self.encoder).argmax(1)
            row = self.encoder[feature].float()
            size = (left * row).sum(1).relu()
            repeated = sizes[token, feature] > 0
            sizes[token, feature] += size
            left = left - size[:, None] * row
            # Where nothing was added, nothing ever will be.
            done = (size == 0) | (left.norm(dim=1) < self.small)
            if self.ends_on_repeat:
                done |= repeated
            token, left = token[~done], left[~done]
        return self.activation.fire(sizes)


@dataclass(frozen=True)
class Transcoder(SparseCoder):
    """A coder that writes to another site than it reads: the scale of its input is not applied to its output."""

    def reconstruct(self, x: Tensor, firings: Firings) -> Tensor:
        """Decode the firings of vectors [tokens, d_in] to vectors [tokens, d_out] of the target site."""
        raw = x.flatten(1).float()
        decoded = self.decode(firings, len(x)).to(raw)
        return decoded if self.skip is None else decoded + raw @ self.skip.to(raw).T


@dataclass(frozen=True)
class StandardisedCoder(SparseCoder):
    """Reads each coordinate less its mean at the site, over its deviation.

    Encoder and decoder are in those units, so that a few coordinates of large values do not dominate.
    """

    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    """[d_in]: the mean vector of the site."""
    deviation: Tensor = field(default_factory=lambda: torch.ones(()))
    """[d_in]: the standard deviation of each coordinate, above zero."""

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "StandardisedCoder":
        """As `SparseCoder.to`."""
        moved = replace(self, mean=self.mean.to(device), deviation=self.deviation.to(device))
        return SparseCoder.to(moved, device, dtype)  # pyright: ignore[reportReturnType]  (replace keeps the class)

    def _scaled(self, x: Tensor) -> NormalisedVectors:
        shift, scale = self.mean[None].to(x), self.deviation[None].to(x)
        return NormalisedVectors((x - shift) / scale, shift, scale)
