"""A coder that reads each coordinate in units of its site: less its mean there, over its deviation."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tasks.coders.dictionary import Scaled, SparseCoder


@dataclass(frozen=True)
class Standardised(SparseCoder):
    """Its encoder and decoder are in those units, so that a few coordinates of large values are not all it sees."""

    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    """[d_in]: the mean vector of the site."""
    deviation: Tensor = field(default_factory=lambda: torch.ones(()))
    """[d_in]: the standard deviation of each coordinate, above zero."""

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Standardised":
        """As of any coder."""
        moved = replace(self, mean=self.mean.to(device), deviation=self.deviation.to(device))
        return SparseCoder.to(moved, device, dtype)  # pyright: ignore[reportReturnType]  (replace keeps the class)

    def _scaled(self, x: Tensor) -> Scaled:
        shift, scale = self.mean[None].to(x), self.deviation[None].to(x)
        return Scaled((x - shift) / scale, shift, scale)
