"""Activation functions of sparse coders: dense pre-activations to sparse firings, which each reads once."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

GROUP = 16
"""Features per group in the first step of a large top-k, which ranks the groups by their maxima."""


class Firings(NamedTuple):
    """Nonzero activations, ordered by token; inside a token in no particular order."""

    token: Tensor
    """[n] int64: row of the input."""
    feature: Tensor
    """[n] int64."""
    activation: Tensor
    """[n] float32, none of them zero; below zero only where a coder ranks by absolute value."""


class ActivationFunction(Protocol):
    """Turns pre-activations into firings."""

    @property
    def declared_l0(self) -> int | None:
        """Features that fire on a token, where the function determines a number."""
        ...

    def fire(self, pre: Tensor) -> Firings:
        """Firings of pre-activations [tokens, width]."""
        ...

    def to(self, device: torch.device) -> "ActivationFunction":
        """The function with its tensors on a device."""
        ...


@dataclass(frozen=True)
class TopK:
    """The k largest pre-activations of a token fire, if above zero."""

    k: int

    @property
    def declared_l0(self) -> int | None:
        """k."""
        return self.k

    def fire(self, pre: Tensor) -> Firings:
        """Firings of pre-activations [tokens, width]."""
        values, features = largest_values(pre, self.k)
        return _chosen(values, features, values > 0)

    def to(self, device: torch.device) -> "TopK":  # noqa: ARG002  (it has no tensors)
        """Return itself."""
        return self


@dataclass(frozen=True)
class AbsTopK:
    """The k pre-activations of a token that are farthest from zero fire, with their signs."""

    k: int

    @property
    def declared_l0(self) -> int | None:
        """k."""
        return self.k

    def fire(self, pre: Tensor) -> Firings:
        """Firings of pre-activations [tokens, width]."""
        sizes, features = largest_values(pre.abs(), self.k)
        return _chosen(pre.gather(1, features), features, sizes > 0)

    def to(self, device: torch.device) -> "AbsTopK":  # noqa: ARG002
        """Return itself."""
        return self


@dataclass(frozen=True)
class GroupMax:
    """Features form k groups of neighbours; the largest of each group fires, if above zero."""

    k: int
    """Number of groups; it divides the width."""

    @property
    def declared_l0(self) -> int | None:
        """One per group."""
        return self.k

    def fire(self, pre: Tensor) -> Firings:
        """Firings of pre-activations [tokens, width]."""
        size = pre.shape[1] // self.k
        best = pre.view(len(pre), self.k, size).max(dim=2)
        features = best.indices + torch.arange(self.k, device=pre.device) * size
        return _chosen(best.values, features, best.values > 0)

    def to(self, device: torch.device) -> "GroupMax":  # noqa: ARG002
        """Return itself."""
        return self


@dataclass(frozen=True)
class JumpRelu:
    """A feature fires where its pre-activation is above its threshold and above zero; 0 is the ReLU."""

    threshold: Tensor
    """[width], or [] for one that all share."""

    @property
    def declared_l0(self) -> int | None:
        """Null: a threshold determines no count."""
        return None

    def fire(self, pre: Tensor) -> Firings:
        """Firings of pre-activations [tokens, width]."""
        return _above(pre, self.threshold.clamp(min=0))

    def to(self, device: torch.device) -> "JumpRelu":
        """The same thresholds on a device."""
        return JumpRelu(self.threshold.to(device))


@dataclass(frozen=True)
class Gated:
    """The pre-activation decides whether a feature fires, an affine image of it how strongly.

    With weights shared between gate and magnitude, as the gated SAE has them (Rajamanoharan et al. 2024,
    equation 7), the magnitude is `scale * pre + shift`.
    """

    scale: Tensor
    """[width]."""
    shift: Tensor
    """[width]."""

    @property
    def declared_l0(self) -> int | None:
        """Null: a gate determines no count."""
        return None

    def fire(self, pre: Tensor) -> Firings:
        """Firings of pre-activations [tokens, width]."""
        open_ = _above(pre, pre.new_zeros(()))
        size = self.scale[open_.feature] * open_.activation + self.shift[open_.feature]
        return Firings(*(column[size > 0] for column in open_._replace(activation=size)))

    def to(self, device: torch.device) -> "Gated":
        """The same gates on a device."""
        return Gated(self.scale.to(device), self.shift.to(device))


def largest_values(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of [tokens, width], in no order: values and columns, [tokens, k] each.

    Where the width is large, in two steps that give the same values: the k largest values lie in the k groups
    with the largest maxima, so that all but k * GROUP of a row is read once and never ranked. Groups
    are columns that stand `width / GROUP` apart, since a maximum over rows of a matrix is the fast one.
    """
    tokens, width = pre.shape
    groups = width // GROUP
    if width % GROUP or 2 * k > groups:
        top = pre.topk(min(k, width), dim=1, sorted=False)
        return top.values, top.indices
    grouped = pre.view(tokens, GROUP, groups)
    best = grouped.amax(1).topk(k, dim=1, sorted=False).indices
    members = grouped.gather(2, best[:, None].expand(tokens, GROUP, k)).flatten(1)
    top = members.topk(k, dim=1, sorted=False)
    member = torch.div(top.indices, k, rounding_mode="floor")
    return top.values, member * groups + best.gather(1, top.indices - member * k)


def _chosen(values: Tensor, features: Tensor, fires: Tensor) -> Firings:
    """Firings among the chosen values [tokens, k]."""
    token = torch.arange(len(values), device=values.device)[:, None].expand_as(fires)
    columns = Firings(token, features, values)
    if fires.all():  # as nearly always: no selection is needed
        return Firings(*(column.flatten() for column in columns))
    return Firings(*(column[fires] for column in columns))


def _above(pre: Tensor, threshold: Tensor) -> Firings:
    """Firings of all pre-activations [tokens, width] above a threshold."""
    above = (pre > threshold).flatten().nonzero().squeeze(1)
    width = pre.shape[1]
    token = torch.div(above, width, rounding_mode="floor")
    return Firings(token, above - token * width, pre.flatten()[above])
