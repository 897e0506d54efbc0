"""Each kind of SAELens checkpoint agrees with its formula written out; what is unknown is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.dictionary import SparseCoder
from tasks.coders.saelens import SAELens
from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random

THRESHOLD = random(WIDTH, seed=5).abs() * 3


def load(folder: Path) -> SparseCoder:
    """Load the coder."""
    return SAELens(path=str(folder)).load("layers.2", "cpu")


def normalised(x: Tensor, kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """The input as the config's `normalize_activations` has it, its shift and its scale."""
    if kind == "layer_norm":
        mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        return (x - mean) / (std + 1e-5), mean, std
    if kind == "constant_norm_rescale":
        scale = x.norm(dim=1, keepdim=True) / D_IN**0.5
        return x / scale, torch.zeros(1), scale
    return x, torch.zeros(1), torch.ones(1)


def activations(p: Tensor, architecture: str) -> Tensor:
    """The rule of each architecture on pre-activations."""
    match architecture:
        case "topk":
            top = p.topk(7)
            return torch.relu(torch.zeros_like(p).scatter(1, top.indices, top.values))
        case "jumprelu":
            return torch.relu(p) * (p > THRESHOLD)
        case _:
            return torch.relu(p)


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu"])
@pytest.mark.parametrize("normalise", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("subtract", [True, False])
def test_encodes_by_the_formula(
    saelens: Write, x: Tensor, architecture: str, normalise: str, *, subtract: bool
) -> None:
    """Normalise, subtract b_dec if asked, encode; and back."""
    cfg = {"architecture": architecture, "normalize_activations": normalise, "k": 7}
    folder = saelens(cfg | {"apply_b_dec_to_input": subtract}, {"threshold": THRESHOLD})
    w = load_file(folder / "sae_weights.safetensors")

    ready, shift, scale = normalised(x, normalise)
    p = (ready - subtract * w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    expected = activations(p, architecture)
    back = (expected @ w["W_dec"] + w["b_dec"]) * scale + shift
    coder = load(folder)
    firings = coder.encode(x)
    found = torch.zeros_like(p)
    found[firings.token, firings.feature] = firings.activation

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.reconstruct(x, firings), back, rtol=1e-3, atol=1e-3)
    assert (7 if architecture == "topk" else None) == coder.declared_l0


def test_topk_rescales_by_decoder_norm(saelens: Write, x: Tensor) -> None:
    """Rescaled topk ranks by p * norm of the decoder row, and decodes by activation / norm."""
    decoder = random(WIDTH, D_IN, seed=3) * torch.arange(WIDTH)[:, None]  # one row is zero
    cfg = {"architecture": "topk", "k": 7, "rescale_acts_by_decoder_norm": True}
    folder = saelens(cfg, {"W_dec": decoder})
    w = load_file(folder / "sae_weights.safetensors")

    norm = decoder.norm(dim=1)
    expected = activations(((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norm, "topk")
    back = (expected / norm.clamp(min=1e-9)) @ decoder + w["b_dec"]
    coder = load(folder)
    firings = coder.encode(x)
    found = torch.zeros(len(x), WIDTH)
    found[firings.token, firings.feature] = firings.activation

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(coder.reconstruct(x, firings), back, rtol=1e-3, atol=1e-2)


FLAT = {"metadata": None, "architecture": None, "reshape_activations": None, "normalize_activations": None}


@pytest.mark.parametrize(
    ("cfg", "declared"),
    [
        ({"hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": "relu"}, None),
        ({"hook_name": "blocks.2.attn.hook_z", "normalize_activations": False}, None),
        ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}}, 3),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}, "architecture": "standard"}, 3),
        ({"architecture": "jumprelu", "apply_b_dec_to_input": None}, None),
    ],
)
def test_flat_config_loads(saelens: Write, cfg: dict, declared: int | None) -> None:
    """Configs from before version 6 load with their old names and defaults."""
    coder = load(saelens(FLAT | cfg, {"threshold": THRESHOLD}))

    assert declared == coder.declared_l0
    assert coder.centre.any()


def test_scaling_factor_of_ones_is_nothing(saelens: Write) -> None:
    """Old checkpoints carry a scaling factor of ones, which means nothing."""
    assert WIDTH == load(saelens(FLAT, {"scaling_factor": torch.ones(WIDTH)})).width


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"architecture": "gated"}, "architecture gated.*standard, topk, jumprelu"),
        ({"architecture": None}, "architecture: Field required"),
        ({"normalize_activations": "expected_average_only_in"}, "expected_average_only_in.*fold"),
        ({"normalize_activations": "whitening"}, "whitening"),
        (FLAT | {"normalize_activations": True}, "expected_average_only_in.*fold"),
        (FLAT | {"activation_fn": "tanh-relu"}, "tanh-relu"),
        (FLAT | {"activation_fn": "topk"}, "k None"),
        ({"reshape_activations": "hook_q"}, "hook_q"),
        ({"architecture": "topk", "k": 0}, "k must be between 1 and 64"),
        ({"architecture": "topk"}, "k must be between 1 and 64"),
        ({"rescale_acts_by_decoder_norm": True}, "rescale_acts_by_decoder_norm on a standard"),
        ({"d_sae": WIDTH * 2}, r"W_enc has shape \[16, 64\]"),
    ],
)
def test_wrong_config_is_refused(saelens: Write, cfg: dict, said: str) -> None:
    """What cannot be loaded is refused by name, with what can be done."""
    with pytest.raises(WrongRequest, match=said):
        load(saelens(cfg))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"b_enc": None}, "no tensor b_enc"),
        ({"W_dec": random(D_IN, WIDTH)}, "W_dec has shape"),
        ({"W_enc": torch.full((D_IN, WIDTH), torch.nan)}, "W_enc holds NaN"),
        ({"scaling_factor": torch.full((WIDTH,), 2.0)}, "scaling_factor"),
    ],
)
def test_wrong_tensors_are_refused(saelens: Write, tensors: dict, said: str) -> None:
    """A missing, misshapen or broken tensor is named with its file."""
    with pytest.raises(WrongRequest, match=f"sae_weights.safetensors.*{said}"):
        load(saelens(tensors=tensors))


def test_jumprelu_without_threshold_is_refused(saelens: Write) -> None:
    """A jumprelu coder needs its thresholds."""
    with pytest.raises(WrongRequest, match="no tensor threshold"):
        load(saelens({"architecture": "jumprelu"}))


def test_corrupt_weights_are_refused(saelens: Write) -> None:
    """A file that is no safetensors is refused by name."""
    folder = saelens()
    (folder / "sae_weights.safetensors").write_bytes(b"not tensors")

    with pytest.raises(WrongRequest, match="not a whole safetensors file"):
        load(folder)
