"""Transcoders that circuit-tracer saves load to what the library itself makes of them."""

import importlib
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from torch import Tensor, nn

from tasks.coders.base import HookSite
from tasks.coders.circuit_tracer import CircuitTracer
from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random

LAYERS = 3
HOOKS = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}


def library(module: str) -> ModuleType:
    """A module of the library; skips the test where it is not installed, or not with all that it needs."""
    pytest.importorskip("circuit_tracer", exc_type=ImportError)
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(f"circuit_tracer.transcoder.{module}")


def scrambled(module: nn.Module) -> nn.Module:
    """The module with random numbers for all that it has learnt."""
    for number, (name, value) in enumerate(module.named_parameters()):
        drawn = random(*value.shape, seed=number)
        value.data = drawn.abs() * 2 if "threshold" in name else drawn
    return module


def load(folder: Path, kind: str, layer: int) -> SparseCoder:
    """The coder of a layer."""
    (folder / "config.yaml").write_text(yaml.safe_dump(HOOKS | {"model_kind": kind}))
    return CircuitTracer(path=str(folder), layer=layer).load(None, HookSite("layers.1", D_IN))


def dense(coder: SparseCoder, x: Tensor) -> Tensor:
    """The coder's activations as a matrix."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


@torch.no_grad()
@pytest.mark.parametrize("rule", ["relu", "jumprelu"])
@pytest.mark.parametrize("skip", [True, False])
def test_a_set_agrees(tmp_path: Path, x: Tensor, rule: str, *, skip: bool) -> None:
    """A layer's activations and reconstructions are those of the library's transcoder."""
    jumprelu = library("activation_functions").JumpReLU
    module = library("single_layer_transcoder")
    made = {}
    for layer in range(LAYERS):
        activation = jumprelu(torch.zeros(WIDTH)) if rule == "jumprelu" else nn.functional.relu
        transcoder = module.SingleLayerTranscoder(
            D_IN, WIDTH, activation, layer, skip_connection=skip, dtype=torch.float32
        )
        made[layer] = scrambled(transcoder)
    theirs = module.TranscoderSet(made, **HOOKS)
    theirs.to_safetensors(str(tmp_path))

    ours = load(tmp_path, "transcoder_set", 1)
    expected = theirs.encode_layer(x, 1)

    torch.testing.assert_close(dense(ours, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x, ours.encode(x)), theirs[1](x), rtol=1e-4, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("rule", ["relu", "jump_relu"])
def test_a_cross_layer_transcoder_agrees(tmp_path: Path, x: Tensor, rule: str) -> None:
    """A layer's activations are the library's, and what they write is the sum over the layers it writes to."""
    theirs = library("cross_layer_transcoder").CrossLayerTranscoder(
        LAYERS, WIDTH, D_IN, rule, lazy_decoder=False, dtype=torch.float32
    )
    scrambled(theirs)
    theirs.to_safetensors(str(tmp_path))

    ours = load(tmp_path, "cross_layer_transcoder", 1)
    expected = theirs.encode_layer(x, 1)
    # The library adds up every layer's features; those of the others are silenced here.
    features = torch.zeros(LAYERS, len(x), WIDTH)
    features[1] = expected
    written = theirs.decode(features) - theirs.b_dec[:, None]

    torch.testing.assert_close(dense(ours, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.decode(ours.encode(x), len(x)), written.sum(0), rtol=1e-4, atol=1e-3)
