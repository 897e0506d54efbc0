"""SAELens itself says what its checkpoints mean: all that it can save, gloss encodes and reconstructs alike."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.coders import saelens as saelens_config
from tasks.coders.base import DeclaredSite, HookSite
from tasks.coders.saelens import SAELens
from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random
from tests.tasks.coders.parity.compared import assert_same, randomise

with warnings.catch_warnings(action="ignore"):
    sae_lens: Any = pytest.importorskip("sae_lens")
    registry: Any = pytest.importorskip("sae_lens.registry")

D_OUT = 12
MATCHING = {"architecture": "matching_pursuit", "residual_threshold": 1.5}
TRANSCODERS = [
    {"architecture": architecture, "d_out": D_OUT}
    for architecture in ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
]
AUTOENCODERS = [
    {"architecture": "standard"},
    {"architecture": "gated"},
    {"architecture": "jumprelu"},
    {"architecture": "topk", "k": 7},
    {"architecture": "topk", "k": 7, "rescale_acts_by_decoder_norm": True},
    {"architecture": "abstopk", "k": 7},
    {"architecture": "abstopk", "k": 7, "rescale_acts_by_decoder_norm": True},
    MATCHING,
    MATCHING | {"max_iterations": 3},
    MATCHING | {"stop_on_duplicate_support": False},
    MATCHING | {"residual_threshold": 0.0},
]
ALL = [cfg | {"apply_b_dec_to_input": subtract} for cfg in AUTOENCODERS for subtract in (True, False)] + [
    cfg | {"apply_b_dec_to_input": False} for cfg in TRANSCODERS
]


def named(cfg: dict) -> str:
    """What tells a case from the others."""
    return "-".join(str(value) for value in cfg.values())


def made(cfg: dict, **more: object) -> Any:
    """A coder of the library, with random weights."""
    options = cfg | {"d_in": D_IN, "d_sae": WIDTH} | more
    coder_class, config_class = registry.get_sae_class(options.pop("architecture"))
    sae = coder_class(config_class(**options))
    randomise(sae)
    if cfg["architecture"] == "matching_pursuit":
        sae.W_dec.data /= sae.W_dec.data.norm(dim=1, keepdim=True)
    return sae


def loaded(folder: Path, **options: object) -> SparseCoder:
    """The coder as gloss loads it."""
    return SAELens.model_validate({"path": str(folder), **options}).load(None, HookSite("layers.2", D_IN))


@torch.inference_mode()
def assert_agrees(sae: Any, coder: SparseCoder, x: Tensor) -> None:
    """gloss' coder does to vectors what the library's does."""
    assert_same(coder, x, sae.encode(x), sae(x))


@pytest.mark.parametrize("cfg", ALL, ids=named)
@pytest.mark.parametrize("normalise", ["none", "layer_norm", "constant_norm_rescale"])
def test_every_architecture(tmp_path: Path, x: Tensor, cfg: dict, normalise: str) -> None:
    """What the library saves of any architecture, gloss loads as the same coder."""
    sae = made(cfg, normalize_activations=normalise)
    sae.save_model(tmp_path)

    assert_agrees(sae, loaded(tmp_path), 2 + 3 * x)


@pytest.mark.parametrize("cfg", ALL, ids=named)
def test_a_norm_factor_is_folded_as_the_library_does(tmp_path: Path, x: Tensor, cfg: dict) -> None:
    """A factor of 1 is what the library does at run time, any other what its own folding gives."""
    sae = made(cfg, normalize_activations="expected_average_only_in")
    sae.save_model(tmp_path)
    assert_agrees(sae, loaded(tmp_path, norm_factor=1), x)

    sae.fold_activation_norm_scaling_factor(0.3)

    assert_agrees(sae, loaded(tmp_path, norm_factor=0.3), x)


@pytest.mark.parametrize(
    "cfg",
    [cfg for cfg in ALL if cfg["architecture"] not in {"topk", "abstopk", "matching_pursuit"}],
    ids=named,
)
def test_decoder_norms_are_folded_as_the_library_does(tmp_path: Path, x: Tensor, cfg: dict) -> None:
    """What SAEDashboard shows is what the option gives."""
    sae = made(cfg)
    sae.save_model(tmp_path)

    sae.fold_W_dec_norm()

    assert_agrees(sae, loaded(tmp_path, fold_decoder_norm=True), x)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("cfg", [{"architecture": "jumprelu"}, {"architecture": "topk", "k": 7}], ids=named)
def test_other_precisions_hold_the_same_numbers(tmp_path: Path, x: Tensor, cfg: dict, dtype: str) -> None:
    """What is saved in another precision is the coder that has these numbers in float32."""
    sae = made(cfg, dtype=dtype)
    sae.save_model(tmp_path)

    assert_agrees(sae.to(torch.float32), loaded(tmp_path), x)


def test_heads_are_flattened(tmp_path: Path, x: Tensor) -> None:
    """A coder of hook_z reads heads one after the other."""
    sae = made({"architecture": "standard"}, reshape_activations="hook_z")
    sae.save_model(tmp_path)

    assert_agrees(sae, loaded(tmp_path), x.unflatten(1, (4, -1)))


TRAINED = [
    {"architecture": "standard"},
    {"architecture": "gated"},
    {"architecture": "jumprelu"},
    {"architecture": "topk", "k": 7, "rescale_acts_by_decoder_norm": True},
    {"architecture": "topk", "k": 7, "rescale_acts_by_decoder_norm": False},
    {"architecture": "abstopk", "k": 7},
    {"architecture": "batchtopk", "k": 7, "rescale_acts_by_decoder_norm": True},
    {"architecture": "batchtopk", "k": 7, "rescale_acts_by_decoder_norm": False},
    {"architecture": "matryoshka_batchtopk", "k": 7, "matryoshka_widths": [16, WIDTH]},
    {"architecture": "matching_pursuit", "decoder_init_norm": 1.0},
]


@pytest.mark.parametrize("cfg", TRAINED, ids=named)
def test_what_a_training_saves(tmp_path: Path, x: Tensor, cfg: dict) -> None:
    """The inference model of a training is the coder that the library loads of it."""
    options = cfg | {"d_in": D_IN, "d_sae": WIDTH}
    coder_class, config_class = registry.get_sae_training_class(options.pop("architecture"))
    training = coder_class(config_class(**options))
    randomise(training)
    if "batchtopk" in cfg["architecture"]:
        training.topk_threshold += 1.5
    training.cfg.metadata.hook_name = "blocks.2.hook_resid_post"
    training.cfg.metadata.l0 = 7.25
    training.save_inference_model(tmp_path)

    coder = loaded(tmp_path)

    assert_agrees(sae_lens.SAE.load_from_disk(tmp_path), coder, x)
    assert 7.25 == coder.declared_l0
    assert DeclaredSite("blocks.2.hook_resid_post") == SAELens(path=str(tmp_path)).declared_site()


FLAT = {"metadata": None, "architecture": None, "reshape_activations": None, "normalize_activations": None}
TOPK = {"activation_fn_kwargs": {"k": 5}}


@pytest.mark.parametrize(
    "cfg",
    [
        {"hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": "relu"},
        {"hook_name": "blocks.2.hook_resid_pre", "normalize_activations": False},
        {"hook_name": "blocks.2.hook_resid_pre", "normalize_activations": "layer_norm"},
        {"hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": "topk"} | TOPK,
        {"hook_name": "blocks.2.hook_resid_pre", "activation_fn": "topk", "architecture": "standard"} | TOPK,
        {"hook_name": "blocks.2.hook_resid_pre", "architecture": "topk"} | TOPK,
        {"hook_name": "blocks.2.hook_resid_pre", "architecture": "jumprelu", "apply_b_dec_to_input": None},
        {"hook_name": "blocks.2.hook_resid_pre", "architecture": "gated", "sae_lens_version": "5.9.1"},
    ],
    ids=str,
)
def test_flat_configs_of_before_version_6(saelens: Write, x: Tensor, cfg: dict) -> None:
    """The library's own reading of an old config is gloss'."""
    has_gates = cfg.get("architecture") == "gated"
    gates = {name: random(WIDTH, seed=i) for i, name in enumerate(("b_gate", "b_mag", "r_mag"))}
    folder = saelens(FLAT | cfg, gates | {"b_enc": None} if has_gates else {})
    if cfg.get("architecture") == "jumprelu":
        weights = load_file(folder / "sae_weights.safetensors")
        save_file(weights | {"threshold": random(WIDTH).abs()}, folder / "sae_weights.safetensors")

    assert_agrees(sae_lens.SAE.load_from_disk(folder), loaded(folder), x)


def test_a_scaling_factor_of_ones(saelens: Write, x: Tensor) -> None:
    """What old checkpoints carried for nothing is dropped by both."""
    folder = saelens(FLAT | {"hook_name": "h"}, {"scaling_factor": torch.ones(WIDTH)})

    assert_agrees(sae_lens.SAE.load_from_disk(folder), loaded(folder), x)


def test_every_architecture_is_known() -> None:
    """All that the library can load, gloss loads or refuses with a reason of its own."""
    theirs = set(registry.SAE_CLASS_REGISTRY) | set(registry.SAE_TRAINING_CLASS_REGISTRY)

    assert theirs == {
        *saelens_config.AUTOENCODERS,
        *saelens_config.TRANSCODERS,
        *saelens_config.UNSUPPORTED_ARCHITECTURES,
    }
