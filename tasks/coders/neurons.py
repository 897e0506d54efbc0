"""Neurons: the coordinates of a site, with no coder in between. Loads torch only in `load`.

The paper's baseline (section "Neurons"): of the vector that goes into an MLP's last map, such as
`layers.5.mlp.down_proj.input`, the k largest values are kept.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from storage.errors import WrongRequest
from tasks.coders.base import Format, Place

if TYPE_CHECKING:
    from tasks.coders.sparse_coder import SparseCoder


class Neurons(Format):
    """Every coordinate of the site is a feature."""

    kind: Literal["neurons"] = "neurons"
    """No checkpoint: the site's own coordinates."""
    k: int | None = Field(default=32, gt=0)
    """How many fire on a token, the largest by signed value and above zero; the paper has 32 and 256. Null
    lets all that are above zero fire."""

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (the site is no part of what neurons are)
        """What they are: there is no checkpoint to hash."""
        return f"neurons k={self.k}"

    def load(self, site: str | None, place: Place) -> "SparseCoder":
        """The site's coordinates as features; they write what the map after them makes of them."""
        import torch  # noqa: PLC0415  (torch, which the config must not cost)

        from tasks.coders.activation_functions import JumpRelu, TopK  # noqa: PLC0415
        from tasks.coders.sparse_coder import Coordinates  # noqa: PLC0415

        if self.k is not None and self.k > place.d:
            msg = f"{site or place.site} has {place.d} neurons, of which {self.k} cannot fire: lower source.k"
            raise WrongRequest(msg)
        zero = torch.zeros(place.d)
        return Coordinates(
            encoder=torch.empty(0, place.d),
            encoder_bias=zero,
            centre=zero,
            decoder=place.writes,
            decoder_bias=None if place.writes is None else torch.zeros(place.writes.shape[1]),
            activation=JumpRelu(torch.zeros(())) if self.k is None else TopK(self.k),
            baseline=True,
        )
