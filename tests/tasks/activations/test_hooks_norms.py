"""What a norm does before its gain is found by its own code; what is no norm is refused."""

import pytest
import torch
from torch import Tensor, nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.olmo.modeling_olmo import OlmoLayerNorm

from storage.errors import WrongRequest
from tasks.activations.hooks import without_gain

D = 6
EPS = 0.3


def rms(x: Tensor, eps: float = EPS) -> Tensor:
    """A vector over its root mean square, as the papers have it."""
    return x / torch.sqrt((x * x).sum(-1, keepdim=True) / x.shape[-1] + eps)


def centred(x: Tensor, eps: float = EPS) -> Tensor:
    """The same of x less its mean."""
    return rms(x - x.sum(-1, keepdim=True) / x.shape[-1], eps)


class Centring(nn.Module):
    """A norm of an unknown kind, which keeps its epsilon under a name of its own."""

    def __init__(self, scale: float = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(D))
        self.tiny, self.scale = EPS, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.weight * centred(x, self.tiny)


class HomemadeNorm(Centring):
    """Of an unknown kind, and named as norms are."""


class NormWithArguments(nn.Module):
    """Wants more than a vector."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return rms(x) * gate


NORMS = {
    "rms": (LlamaRMSNorm(D, eps=EPS), rms),
    "rms of torch": (nn.RMSNorm(D, eps=EPS), rms),
    "gain less one": (GemmaRMSNorm(D, eps=EPS), rms),
    "layer": (nn.LayerNorm(D, eps=EPS), centred),
    "layer without weights": (nn.LayerNorm(D, eps=EPS, elementwise_affine=False), centred),
    "epsilon in code": (OlmoLayerNorm(D), lambda x: centred(x, 1e-5)),
    "unknown": (HomemadeNorm(), centred),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gain_is_taken_out_and_nothing_else(name: str, dtype: torch.dtype) -> None:
    """What remains is the norm's formula with its own epsilon in float32, whatever its weights; they stay."""
    norm, formula = NORMS[name]
    norm = norm.to(dtype)
    for weight in norm.parameters():
        nn.init.uniform_(weight, 2, 3)
    kept = [weight.clone() for weight in norm.parameters()]
    x = torch.randn(3, 5, D, generator=torch.Generator().manual_seed(1)) + 1

    made = without_gain(norm, "norm")(x)

    torch.testing.assert_close(formula(x), made, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(before, after) for before, after in zip(kept, norm.parameters(), strict=True))


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(D, D), nn.Dropout(0.5), nn.Tanh(), nn.Identity(), nn.Embedding(3, D), Centring(),
        nn.BatchNorm1d(D).eval(), HomemadeNorm(scale=3), nn.Sequential(nn.LayerNorm(D)), NormWithArguments(),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_what_is_no_norm_is_refused(module: nn.Module) -> None:
    """A module that does anything else has no normalised form, whatever it is called."""
    with pytest.raises(WrongRequest, match=r"^layers\.5 is no norm"):
        without_gain(module, "layers.5")
