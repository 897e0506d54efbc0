"""Configs of SAELens of every age mean what they meant; what gloss cannot load is refused by name."""

from pathlib import Path

import pytest

from storage.errors import WrongRequest
from tasks.coders.base import DeclaredSite, HookSite
from tasks.coders.saelens import SAELens
from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random

D_OUT = 12


def load(folder: Path) -> SparseCoder:
    """Load the coder."""
    return SAELens(path=str(folder)).load(None, HookSite("layers.2", D_IN))


FLAT = {"metadata": None, "architecture": None, "reshape_activations": None, "normalize_activations": None}
TOPK = {"activation_fn_kwargs": {"k": 3}}


@pytest.mark.parametrize(
    ("cfg", "declared"),
    [
        ({"hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": "relu"}, None),
        ({"hook_name": "blocks.2.attn.hook_z", "normalize_activations": False}, None),
        (TOPK | {"activation_fn_str": "topk"}, 3),
        (TOPK | {"activation_fn": "topk", "architecture": "standard"}, 3),
        (TOPK | {"architecture": "topk"}, 3),
        ({"architecture": "jumprelu", "apply_b_dec_to_input": None}, None),
    ],
)
def test_flat_config_loads(saelens: Write, cfg: dict, declared: int | None) -> None:
    """Configs from before version 6 load with their old names and defaults."""
    coder = load(saelens(FLAT | cfg, {"threshold": random(WIDTH)}))

    assert declared == coder.declared_l0
    assert coder.centre.any()


CENTRED = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
RESID = "blocks.2.hook_resid_post"


@pytest.mark.parametrize(
    ("cfg", "declared"),
    [
        ({"metadata": {"hook_name": RESID}}, DeclaredSite(RESID)),
        (
            {"metadata": {"hook_name": RESID, "hf_hook_name": "model.layers.2"}},
            DeclaredSite("model.layers.2"),
        ),
        ({"metadata": {"hook_name": RESID} | CENTRED}, DeclaredSite(RESID, centred=True)),
        ({"metadata": {"hook_name": RESID, "model_from_pretrained_kwargs": {}}}, DeclaredSite(RESID)),
        ({"metadata": {"sae_lens_version": "6.0.0"}}, None),
        (FLAT | {"hook_point": RESID}, DeclaredSite(RESID)),
        (FLAT | {"hook_name": RESID} | CENTRED, DeclaredSite(RESID, centred=True)),
        (FLAT, None),
    ],
)
def test_declares_its_site(saelens: Write, cfg: dict, declared: DeclaredSite | None) -> None:
    """The hook that a checkpoint names is its site, and whether the model's writing weights were centred."""
    assert declared == SAELens(path=str(saelens(cfg))).declared_site()


@pytest.mark.parametrize(("l0", "declared"), [(55.5, 55.5), (0, None), (float("nan"), None)])
def test_declares_its_l0(saelens: Write, l0: float, declared: float | None) -> None:
    """What fired at the end of the training is what a coder declares, unless that is no number."""
    assert declared == load(saelens({"metadata": {"l0": l0}})).declared_l0


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"architecture": "crosscoder"}, "architecture crosscoder.*standard, gated, topk"),
        ({"architecture": "temporal"}, "temporal.*the tokens before"),
        ({"architecture": "batchtopk"}, "batchtopk.*save_inference_model"),
        ({"architecture": None}, "architecture: Field required"),
        ({"normalize_activations": "expected_average_only_in"}, "expected_average_only_in.*norm_factor"),
        (
            {"normalize_activations": "covariance_whitening"},
            "covariance_whitening.*fold_activation_whitening",
        ),
        ({"normalize_activations": "whitening"}, "whitening, which gloss does not know"),
        (FLAT | {"normalize_activations": True}, "expected_average_only_in.*norm_factor"),
        (FLAT | {"activation_fn": "tanh-relu"}, "tanh-relu"),
        (FLAT | {"activation_fn": "topk"}, "k None"),
        ({"reshape_activations": "hook_q"}, "hook_q"),
        ({"architecture": "topk", "k": 0}, "k must be between 1 and 64"),
        ({"architecture": "abstopk"}, "abstopk with k None"),
        ({"rescale_acts_by_decoder_norm": True}, "rescale_acts_by_decoder_norm on a standard"),
        ({"metadata": {"hook_head_index": 3}}, "hook_head_index 3.*one attention head"),
        (FLAT | {"hook_point_head_index": 3}, "hook_head_index 3.*one attention head"),
        ({"architecture": "transcoder", "apply_b_dec_to_input": False}, "transcoder without d_out"),
        ({"architecture": "transcoder", "d_out": D_OUT}, "transcoder with apply_b_dec_to_input"),
        (
            {"architecture": "matching_pursuit", "max_iterations": 0},
            "max_iterations: Input should be greater",
        ),
        ({"d_sae": WIDTH * 2}, r"sae_weights.safetensors: W_dec has shape \[64, 16\]"),
    ],
)
def test_wrong_config_is_refused(saelens: Write, cfg: dict, message: str) -> None:
    """What cannot be loaded is refused by name, with what can be done."""
    with pytest.raises(WrongRequest, match=rf"{'' if 'd_sae' in cfg else r'cfg.json.*'}{message}"):
        load(saelens(cfg))
