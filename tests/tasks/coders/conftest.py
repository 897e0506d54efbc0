"""Tiny checkpoints in the layouts that gloss loads, on random weights."""

from pathlib import Path

import pytest
import torch

from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random, store


@pytest.fixture
def x() -> torch.Tensor:
    """Some vectors: [tokens, d_in]."""
    return random(37, D_IN, seed=9)


@pytest.fixture
def sparsify(tmp_path: Path) -> Write:
    """Write a checkpoint of sparsify; `cfg` and `tensors` replace fields, null removes them."""

    def write(folder: str = "layers.2", cfg: dict | None = None, tensors: dict | None = None) -> Path:
        config = {
            "activation": "topk", "expansion_factor": 32, "normalize_decoder": True,
            "num_latents": WIDTH, "k": 5, "multi_topk": False, "skip_connection": False,
            "transcode": False, "d_in": D_IN,
        }  # fmt: skip
        weights = {
            "encoder.weight": random(WIDTH, D_IN, seed=1),
            "encoder.bias": random(WIDTH, seed=2),
            "W_dec": random(WIDTH, D_IN, seed=3),
            "b_dec": random(D_IN, seed=4),
        }
        return store(tmp_path / folder, "sae.safetensors", config | (cfg or {}), weights | (tensors or {}))

    return write


@pytest.fixture
def saelens(tmp_path: Path) -> Write:
    """Write a checkpoint of SAELens; `cfg` and `tensors` replace fields, null removes them.

    Of tensors that only some architectures have, those that this one has not are left out, as the library does.
    """

    def write(cfg: dict | None = None, tensors: dict | None = None) -> Path:
        config = {
            "d_in": D_IN, "d_sae": WIDTH, "dtype": "float32", "device": "cpu",
            "apply_b_dec_to_input": True, "normalize_activations": "none",
            "reshape_activations": "none", "metadata": {"sae_lens_version": "6.0.0"},
            "architecture": "standard",
        }  # fmt: skip
        weights = {
            "W_enc": random(D_IN, WIDTH, seed=1),
            "b_enc": random(WIDTH, seed=2),
            "W_dec": random(WIDTH, D_IN, seed=3),
            "b_dec": random(D_IN, seed=4),
        }
        folder, config = tmp_path / "saelens", config | (cfg or {})
        architecture = str(config.get("architecture") or "standard")
        has = {
            "b_enc": architecture not in {"gated", "matching_pursuit"},
            "W_enc": architecture != "matching_pursuit",
            "threshold": "jumprelu" in architecture,
            "W_skip": "skip" in architecture,
        }
        held = {name: tensor for name, tensor in (weights | (tensors or {})).items() if has.get(name, True)}
        return store(folder, "sae_weights.safetensors", config, held)

    return write
