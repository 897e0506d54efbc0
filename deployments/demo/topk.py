"""A TopK sparse coder while it is trained: its encoder and decoder, auxiliary loss, steps, and its folder on disk.

The coder works on vectors that are centred and scaled (`Scaling`):

    codes = top_k(W_enc (x - b_dec) + b_enc),    y ~ codes W_dec + b_dec,

with rows of W_dec of length one. A transcoder reads x and explains another y, and subtracts no b_dec from x. Features
that have been silent for a while are given the error of the others to explain (the auxiliary loss of Gao et al. 2024,
https://arxiv.org/abs/2406.04093, appendix A.2), which keeps them alive.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

ALL = slice(None)


@dataclass(frozen=True)
class CoderPlan:
    """Size of a coder and how it is trained."""

    features: int = 4096
    k: int = 32
    rate: float = 2e-3
    warmup: int = 100
    """Steps in which the rate rises."""
    decay: float = 0.25
    """Share of all steps, the last ones, in which the rate falls to zero."""
    auxiliary_k: int = 64
    auxiliary_weight: float = 1 / 32
    dead_after: int = 100_000
    """Tokens without a firing after which a feature counts as dead."""


class Scaling(NamedTuple):
    """Centre and scale of the vectors at a site: (x - mean) / scale has a mean norm of sqrt(d)."""

    mean: Tensor
    """[d]."""
    scale: float

    @classmethod
    def of(cls, x: Tensor) -> "Scaling":
        """The scaling of vectors [tokens, d]."""
        mean = x.mean(0)
        return cls(mean, (x - mean).norm(dim=1).mean().item() / x.shape[1] ** 0.5)

    def scaled(self, x: Tensor) -> Tensor:
        """Vectors [tokens, d], centred and scaled."""
        return (x - self.mean) / self.scale


class TopKCoder(nn.Module):
    """The weights, named as in sparsify's layout."""

    def __init__(self, d: int, plan: CoderPlan, start: Tensor | None = None) -> None:
        super().__init__()
        self.k = plan.k
        self.transcode = start is not None
        self.encoder = nn.Linear(d, plan.features)
        nn.init.zeros_(self.encoder.bias)
        self.W_dec = nn.Parameter(functional.normalize(self.encoder.weight.detach().clone(), dim=1))
        rows = self.W_dec.detach()
        self.encoder.weight.data = rows.clone() if start is None else rows @ start.T
        self.b_dec = nn.Parameter(torch.zeros(d))

    def encode(self, x: Tensor, which: Tensor | slice = ALL, k: int | None = None) -> tuple[Tensor, Tensor]:
        """Activations and features of the k largest, [tokens, k], of all features or of some, numbered among those.

        An activation of zero is no firing.
        """
        weight, bias = self.encoder.weight[which], self.encoder.bias[which]
        if not self.transcode:
            bias = bias - weight @ self.b_dec
        values, features = largest(x, weight, bias, k or self.k)
        return values.relu(), features

    def decode(self, values: Tensor, features: Tensor) -> Tensor:
        """Vectors [tokens, d]."""
        return combined(values, features, self.W_dec) + self.b_dec

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of vectors [tokens, d]."""
        return self.decode(*self.encode(x))


def combined(values: Tensor, features: Tensor, decoder: Tensor) -> Tensor:
    """Sum of the features' decoder rows, weighted by the values: [tokens, d]."""
    return functional.embedding_bag(features, decoder, mode="sum", per_sample_weights=values)


def largest(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of x weight' + bias and where they are, [tokens, k] in no order.

    Differentiable in weight and bias, at the cost of k rows per token: the dense gradient would be nearly all zeros.
    """
    return _Largest.apply(x, weight, bias, k)  # pyright: ignore[reportReturnType]


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, features = functional.linear(x, weight, bias).topk(k, dim=-1, sorted=False)
        ctx.save_for_backward(x, features)
        ctx.mark_non_differentiable(features)
        ctx.width = len(weight)
        return values, features

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        x, features = ctx.saved_tensors
        k, flat, each = features.shape[1], features.flatten(), gradients[0].flatten()
        order = flat.argsort(stable=True)
        counts = flat.bincount(minlength=ctx.width)
        weight = functional.embedding_bag(
            order // k, x, counts.cumsum(0) - counts, mode="sum", per_sample_weights=each[order]
        )
        return None, weight, each.new_zeros(ctx.width).index_add(0, flat, each), None


class Losses(NamedTuple):
    """What one step measured."""

    fvu: float
    dead: int


class CoderTraining:
    """One coder in training, with its optimizer."""

    def __init__(self, d: int, plan: CoderPlan, steps: int, start: Tensor | None = None) -> None:
        """`start` [d, d] is the linear map from what a transcoder reads to what it explains; null for other coders."""
        self.plan = plan
        self.coder = TopKCoder(d, plan, start)
        self.optimizer = torch.optim.Adam(self.coder.parameters(), lr=plan.rate, fused=True)
        falling = max(1, round(plan.decay * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min(1.0, (step + 1) / plan.warmup, (steps - step) / falling)
        )
        self.silent = torch.zeros(plan.features, dtype=torch.long)
        """Tokens since each feature's last firing."""

    def step(self, x: Tensor, y: Tensor) -> Losses:
        """Learn from a batch: x [tokens, d] is read, y [tokens, d] reconstructed."""
        values, features = self.coder.encode(x)
        error = y - self.coder.decode(values, features)
        loss = error.square().sum() / (y - y.mean(0)).square().sum()
        dead = self._dead(values, features)
        total = loss
        if dead.any():
            total = loss + self.plan.auxiliary_weight * self._auxiliary_loss(x, error.detach(), dead)
        self.optimizer.zero_grad()
        total.backward()
        _drop_radial_gradient(self.coder.W_dec)
        self.optimizer.step()
        self.schedule.step()
        self.coder.W_dec.data = functional.normalize(self.coder.W_dec.data, dim=1)
        return Losses(loss.item(), int(dead.sum()))

    def _dead(self, values: Tensor, features: Tensor) -> Tensor:
        """Whether each feature has long been silent, with this batch counted: [features]."""
        self.silent += len(values)
        self.silent[features[values > 0]] = 0
        return self.silent > self.plan.dead_after

    def _auxiliary_loss(self, x: Tensor, error: Tensor, dead: Tensor) -> Tensor:
        """How badly the dead features explain the error of the others, relative to all of it."""
        which = dead.nonzero().squeeze(1)
        values, features = self.coder.encode(x, which, min(self.plan.auxiliary_k, len(which)))
        guess = combined(values, features, self.coder.W_dec[which])
        return (guess - error).square().sum() / error.square().sum()

    def state(self) -> dict[str, object]:
        """All that a later process needs to go on."""
        return {
            "coder": self.coder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "silent": self.silent,
        }

    def load(self, state: dict) -> None:
        """Go on from a state."""
        self.coder.load_state_dict(state["coder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.silent = state["silent"]


def linear_map(x: Tensor, y: Tensor, ridge: float = 0.01) -> Tensor:
    """The map A [d, d] by which x A comes nearest to y; both are [tokens, d], centred and scaled."""
    square = x.T @ x
    square.diagonal().add_(ridge * len(x))
    return torch.linalg.solve(square, x.T @ y)


def _drop_radial_gradient(decoder: nn.Parameter) -> None:
    """Take the gradient's part along each decoder row away: rows keep their length."""
    rows, gradient = decoder.data, decoder.grad
    if gradient is not None:
        gradient -= (gradient * rows).sum(1, keepdim=True) * rows


@torch.no_grad()
def folded(coder: TopKCoder, reads: Scaling, writes: Scaling) -> dict[str, Tensor]:
    """The coder's tensors for vectors as the model has them: matrices in float16, biases in float32."""
    weight, bias = coder.encoder.weight, coder.encoder.bias * writes.scale
    if coder.transcode:
        weight = (weight * (writes.scale / reads.scale)).half()
        bias = bias - weight.float() @ reads.mean
    return {
        "encoder.weight": weight.half().contiguous(),
        "encoder.bias": bias.clone(),
        "W_dec": coder.W_dec.half(),
        "b_dec": writes.mean + coder.b_dec * writes.scale,
    }


def write_sparsify(tensors: dict[str, Tensor], k: int, folder: Path, *, transcode: bool) -> None:
    """The layout of EleutherAI's sparsify: cfg.json and sae.safetensors in a folder named after the site."""
    features, d = tensors["W_dec"].shape
    config = {
        "activation": "topk",
        "expansion_factor": max(1, features // d),
        "normalize_decoder": True,
        "num_latents": features,
        "k": k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": transcode,
        "d_in": d,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(tensors, folder / "sae.safetensors")
    (folder / "sae.safetensors").chmod(0o644)
