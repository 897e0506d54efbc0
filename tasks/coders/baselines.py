"""The paper's two baselines, which have no checkpoint: neurons and random weights. Loads torch only in `load`.

Neurons (the paper's section "Neurons") are the coordinates of a site: of the vector that goes into an MLP's last map,
such as `layers.5.mlp.down_proj.input`, the k largest values fire.

Random weights are the baseline for its interventions: unit vectors drawn uniformly from the sphere encode, of which the
k best aligned with a vector fire, and their transpose decodes. What scores no better says nothing about training.
Vectors are standardised first, each coordinate by its mean and its deviation at the site. A residual stream has a few
coordinates that are hundreds of times as large as the others and hardly change: as they are, the same few directions
would be the best aligned with every vector. Logits and neighbours in `features` are those of the unit vectors
themselves.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from storage.errors import WrongRequest
from tasks.coders.base import CoderFormat, HookSite
from tasks.fields import Seed

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.coders.sparse_coder import SparseCoder


BLOCK_ROWS = 1024
"""Rows that are drawn at once, in float64 before they are rounded."""


class RandomWeights(CoderFormat, frozen=True):
    """A random top-k coder, as wide as one likes, of vectors whose coordinates are standardised."""

    needs_statistics: ClassVar[bool] = True

    kind: Literal["random"] = "random"
    """No checkpoint: random weights."""
    width: int = Field(default=131_072, gt=0)
    """Number of features; the paper has 131,072."""
    k: int = Field(default=50, gt=0)
    """How many fire on a token; the paper has 50."""
    seed: Seed = 22
    """Draws the weights: the same seed gives the same ones on every machine."""

    @model_validator(mode="after")
    def _has_enough(self) -> "RandomWeights":
        if self.k > self.width:
            msg = f"{self.k} of {self.width} features cannot fire: lower k"
            raise ValueError(msg)
        return self

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (the site is no part of the weights)
        """What they are drawn from: there is no checkpoint to hash."""
        return f"random width={self.width} k={self.k} seed={self.seed} standardised"

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """Random rows as wide as the site; they are held once, for encoder and decoder."""
        import torch  # noqa: PLC0415  (torch, which the config must not cost)

        from tasks.coders.activation_functions import TopK  # noqa: PLC0415
        from tasks.coders.sparse_coder import StandardisedCoder  # noqa: PLC0415

        if place.statistics is None:
            msg = f"the site {place.site} has not been measured for a random coder"
            raise ValueError(msg)
        rows = random_directions(self.width, place.d, self.seed)
        zero = torch.zeros(place.d)
        return StandardisedCoder(
            encoder=rows,
            encoder_bias=torch.zeros(self.width),
            centre=zero,
            decoder=rows,
            decoder_bias=zero,
            activation=TopK(self.k),
            baseline=True,
            mean=torch.tensor(place.statistics.mean),
            deviation=torch.tensor(place.statistics.deviation),
        )


def random_directions(width: int, d: int, seed: int) -> "Tensor":
    """[width, d] float32: unit vectors, uniform on the sphere. A wider draw begins with the narrower one.

    numpy's generator rather than torch's, which takes other approximations of the logarithm on other
    processors; in float64, so that what rounding differs in is gone in float32.
    """
    import numpy as np  # noqa: PLC0415  (as torch)
    import torch  # noqa: PLC0415

    draw = np.random.Generator(np.random.PCG64(seed))
    rows = torch.empty(width, d)
    for block in rows.split(BLOCK_ROWS):
        drawn = torch.from_numpy(draw.standard_normal(block.shape))
        block.copy_(drawn / drawn.norm(dim=1, keepdim=True))
    return rows


class Neurons(CoderFormat, frozen=True):
    """Every coordinate of the site is a feature."""

    kind: Literal["neurons"] = "neurons"
    """No checkpoint: the site's own coordinates."""
    k: int | None = Field(default=32, gt=0)
    """How many fire on a token, the largest by signed value and above zero; the paper has 32 and 256. Null
    lets all that are above zero fire."""

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (the site is no part of what neurons are)
        """What they are: there is no checkpoint to hash."""
        return f"neurons k={self.k}"

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":
        """The site's coordinates as features; they write what the map after them makes of them."""
        import torch  # noqa: PLC0415  (torch, which the config must not cost)

        from tasks.coders.activation_functions import JumpRelu, TopK  # noqa: PLC0415
        from tasks.coders.sparse_coder import CoordinateCoder  # noqa: PLC0415

        if self.k is not None and self.k > place.d:
            msg = f"{site or place.site} has {place.d} neurons, of which {self.k} cannot fire: lower source.k"
            raise WrongRequest(msg)
        zero = torch.zeros(place.d)
        return CoordinateCoder(
            encoder=torch.empty(0, place.d),
            encoder_bias=zero,
            centre=zero,
            decoder=place.writes,
            decoder_bias=None if place.writes is None else torch.zeros(place.writes.shape[1]),
            activation=JumpRelu(torch.zeros(())) if self.k is None else TopK(self.k),
            baseline=True,
        )
