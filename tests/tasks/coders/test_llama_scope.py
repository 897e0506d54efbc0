"""Llama Scope's coders load to the formula of OpenMOSS' own library, the scaling of vectors folded in."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.llama_scope import LlamaScope
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random
from tests.tasks.coders.formula import PLACE, close, dense, jump, rebuilt
from tests.tasks.coders.layouts import LAYOUTS, lay

RES, NORMALISED, MLP = "blocks.8.hook_resid_post", "blocks.8.ln2.hook_normalized", "blocks.8.hook_mlp_out"
NORMS = {"in": 6.3125, "out": 6.3125}
ROOT = D_IN**0.5


def tensors(**changed: Tensor | None) -> dict[str, Tensor]:
    """Tensors as either release has them; null removes one, `__` stands for a dot."""
    all_ = {
        "encoder.weight": random(WIDTH, D_IN, seed=1),
        "encoder.bias": random(WIDTH, seed=2),
        "decoder.weight": random(D_IN, WIDTH, seed=3),
        "decoder.bias": random(D_IN, seed=4),
    } | {name.replace("__", "."): tensor for name, tensor in changed.items()}
    return {name: tensor for name, tensor in all_.items() if tensor is not None}


def first(folder: Path, cfg: dict | None = None, **changed: Tensor | None) -> Path:
    """A checkpoint of Llama Scope; null removes a field."""
    fields = {
        "d_model": D_IN, "d_sae": WIDTH, "hook_point_in": RES, "hook_point_out": RES, "act_fn": "jumprelu",
        "jump_relu_threshold": 0.4, "top_k": 50, "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": NORMS, "sparsity_include_decoder_norm": True,
        "apply_decoder_bias_to_pre_encoder": False, "use_decoder_bias": True,
    } | (cfg or {})  # fmt: skip
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "hyperparams.json").write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))
    save_file(tensors(**changed), folder / "checkpoints/final.safetensors")
    return folder


def later(folder: Path, cfg: dict | None = None, **changed: Tensor | None) -> Path:
    """A checkpoint of the successor for DeepSeek-R1-Distill; null removes a field."""
    fields = {
        "d_model": D_IN, "expansion_factor": WIDTH // D_IN, "hook_point_in": RES, "hook_point_out": RES,
        "act_fn": "jumprelu", "top_k": 50, "norm_activation": "dataset-wise", "sae_type": "sae",
    } | (cfg or {})  # fmt: skip
    held = {
        "log_jumprelu_threshold": random(WIDTH, seed=5),
        f"dataset_average_activation_norm.{RES}": torch.tensor(6.3125),
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))
    save_file(tensors(**(held | changed)), folder / "sae_weights.safetensors")
    return folder


def load(folder: Path, **options: object) -> SparseCoder:
    """The coder of a folder."""
    return LlamaScope.model_validate({"path": str(folder), **options}).load(None, PLACE)


def test_the_first_encodes_by_the_formula(tmp_path: Path, x: Tensor) -> None:
    """Pre-activations of the scaled vectors fire where what they write, scaled back, is longer than the threshold."""
    coder = load(first(tmp_path / "L8R"))
    w, s = tensors(), ROOT / NORMS["in"]

    pre = (x * s) @ w["encoder.weight"].T + w["encoder.bias"]
    fires = (pre / s) * w["decoder.weight"].norm(dim=0) > 0.4
    expected = pre.relu() * fires
    assert 0 < expected.count_nonzero() < jump(pre).count_nonzero()
    close(dense(coder, x), expected)
    close(rebuilt(coder, x), (expected @ w["decoder.weight"].T + w["decoder.bias"]) / s)
    assert (SAME_SITE, 50, WIDTH) == (coder.target, coder.declared_l0, coder.width)


def test_a_transcoder_scales_what_it_writes_by_its_own_norm(tmp_path: Path, x: Tensor) -> None:
    """The vectors that it writes have another average norm than those that it reads."""
    norms = {"in": 4.0, "out": 0.5}
    cfg = {"hook_point_in": NORMALISED, "hook_point_out": MLP, "dataset_average_activation_norm": norms}
    folder = first(tmp_path / "L8TC", cfg)
    coder = load(folder)
    w, reads, writes = tensors(), ROOT / norms["in"], ROOT / norms["out"]

    pre = (x * reads) @ w["encoder.weight"].T + w["encoder.bias"]
    expected = pre.relu() * (pre * (w["decoder.weight"] / writes).norm(dim=0) > 0.4)
    close(dense(coder, x), expected)
    close(rebuilt(coder, x), (expected @ w["decoder.weight"].T + w["decoder.bias"]) / writes)
    declared = LlamaScope(path=str(folder)).declared_site()
    assert declared is not None
    assert (NORMALISED, MLP) == (declared.site, coder.target)


@pytest.mark.parametrize("with_norm", [True, False])
def test_the_later_encodes_by_the_formula(tmp_path: Path, x: Tensor, *, with_norm: bool) -> None:
    """Thresholds are stored as logarithms, in the units of the scaled vectors, and the norm among the weights."""
    coder = load(later(tmp_path / "L8R", {"sparsity_include_decoder_norm": with_norm}))
    w, s = tensors(), ROOT / NORMS["in"]

    pre = (x * s) @ w["encoder.weight"].T + w["encoder.bias"]
    compared = pre * w["decoder.weight"].norm(dim=0) if with_norm else pre
    expected = pre.relu() * (compared > random(WIDTH, seed=5).exp())
    assert 0 < expected.count_nonzero() < jump(pre).count_nonzero()
    close(dense(coder, x), expected)
    close(rebuilt(coder, x), (expected @ w["decoder.weight"].T + w["decoder.bias"]) / s)
    # Its top_k is a default that its training never used.
    assert (SAME_SITE, None) == (coder.target, coder.declared_l0)


def test_a_norm_that_is_nowhere_is_given(tmp_path: Path, x: Tensor) -> None:
    """As a factor, the way that SAELens lists it; a checkpoint without any is refused."""
    held = load(later(tmp_path / "held"))
    folder = later(tmp_path / "bare", **{f"dataset_average_activation_norm.{RES}": None})
    with pytest.raises(
        WrongRequest, match=r"sae_weights.safetensors and its config hold no .* norm_scaling_factor"
    ):
        load(folder)
    close(dense(load(folder, norm_scaling_factor=ROOT / NORMS["in"]), x), dense(held, x))
    transcoder = later(tmp_path / "tc", {"hook_point_out": MLP})
    with pytest.raises(WrongRequest, match=r"no autoencoder with one dataset-wise norm.*leave it out"):
        load(transcoder, norm_scaling_factor=2.0)


def test_other_normalisations(tmp_path: Path, x: Tensor) -> None:
    """`inference` scales nothing, the weights are scaled already; `token-wise` scales each vector by its norm."""
    w, threshold = tensors(), random(WIDTH, seed=5).exp()
    plain = {"sparsity_include_decoder_norm": False}
    inference = load(later(tmp_path / "a", plain | {"norm_activation": "inference"}))
    token = load(later(tmp_path / "b", plain | {"norm_activation": "token-wise"}))

    close(dense(inference, x), jump(x @ w["encoder.weight"].T + w["encoder.bias"], threshold))
    scale = ROOT / x.norm(dim=1, keepdim=True)
    expected = jump((x * scale) @ w["encoder.weight"].T + w["encoder.bias"], threshold)
    close(dense(token, x), expected)
    close(rebuilt(token, x), (expected @ w["decoder.weight"].T + w["decoder.bias"]) / scale)


def test_rarer_fields(tmp_path: Path, x: Tensor) -> None:
    """A bias that is subtracted first, no bias at all, and the plain ReLU."""
    w, s = tensors(), ROOT / NORMS["in"]
    relu: dict[str, Any] = {"log_jumprelu_threshold": None}
    first_subtracted = {"apply_decoder_bias_to_pre_encoder": True, "act_fn": "relu"}
    subtracted = load(later(tmp_path / "a", first_subtracted, **relu))
    no_bias = {"use_decoder_bias": False, "act_fn": "relu"}
    without = load(later(tmp_path / "b", no_bias, decoder__bias=None, **relu))

    pre = (x * s - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"]
    close(dense(subtracted, x), jump(pre))
    acts = jump((x * s) @ w["encoder.weight"].T + w["encoder.bias"])
    close(rebuilt(without, x), acts @ w["decoder.weight"].T / s)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """Weights stored in half precision, as the release has them, are computed with in float32."""
    half: dict[str, Any] = {name.replace(".", "__"): tensor.to(dtype) for name, tensor in tensors().items()}
    assert torch.float32 == load(first(tmp_path / "half", **half)).encoder.dtype


def test_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is known by its files, a repository by its name, without asking the Hub."""
    monkeypatch.setattr(files.HubFolder, "file", lambda *_: pytest.fail("the Hub was asked"))
    hub = (
        "fnlp/Llama3_1-8B-Base-LXR-8x/Llama3_1-8B-Base-L8R-8x",
        "fnlp/Llama-Scope-R1-Distill/800M-Slimpajama-0-OpenR1-Math-220k/L15R",
    )
    for path in (str(first(tmp_path / "a")), str(later(tmp_path / "b")), *hub):
        assert LlamaScope(path=path) == LlamaScope.detect(path, None)
    for path in ("owner/name", "fnlp/Llama3_1-8B-Base-LXR-8x", "meta-llama/Llama-3.1-8B"):
        assert LlamaScope.detect(path, None) is None


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if not name.startswith("llama_scope")])
def test_others_are_not_claimed(tmp_path: Path, layout: str) -> None:
    """A folder of another format is left to it."""
    assert LlamaScope.detect(str(lay(tmp_path, layout)), None) is None


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"act_fn": "topk"}, "asks for act_fn topk"),
        ({"norm_activation": "batch-wise"}, "asks for norm_activation batch-wise"),
        ({"norm_activation": "token-wise", "hook_point_out": MLP}, "asks for norm_activation token-wise"),
        ({"use_glu_encoder": True}, "asks for use_glu_encoder"),
        (
            {"apply_decoder_bias_to_pre_encoder": True, "hook_point_out": MLP},
            "asks for apply_decoder_bias_to_pre_encoder on a transcoder",
        ),
        ({"d_model": None}, "is not a config of this format: d_model: Field required"),
        ({"hook_point_in": None}, "is not a config of this format: hook_point_in"),
    ],
)
def test_configs_that_cannot_be_loaded_are_refused(tmp_path: Path, cfg: dict, message: str) -> None:
    """By the name that the config gives it, in both layouts."""
    for name, write in {"hyperparams": first, "config": later}.items():
        with pytest.raises(WrongRequest, match=rf"{name}\.json {message}[^\n]*$"):
            load(write(tmp_path / name, cfg))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder__weight": None}, r" has no tensor encoder\.weight"),
        ({"decoder__bias": None}, r" has no tensor decoder\.bias"),
        (
            {"decoder__weight": random(WIDTH, D_IN)},
            r": decoder\.weight has shape \[64, 16\], where \[16, 64\] is expected",
        ),
        ({"encoder__bias": torch.full((WIDTH,), torch.nan)}, r": encoder\.bias holds NaN"),
    ],
)
def test_broken_weights_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    """A missing, misshapen or broken tensor is named with its file, in both layouts."""
    for name, write in {"final": first, "sae_weights": later}.items():
        with pytest.raises(WrongRequest, match=rf"{name}\.safetensors{message}[^\n]*$"):
            load(write(tmp_path / name, **changed))


def test_a_missing_threshold_is_refused(tmp_path: Path) -> None:
    """The successor has one per feature among its weights."""
    with pytest.raises(WrongRequest, match=r"has no tensor log_jumprelu_threshold"):
        load(later(tmp_path / "L8R", log_jumprelu_threshold=None))


def test_missing_and_truncated_files_are_refused(tmp_path: Path) -> None:
    """Each by its name."""
    folder = first(tmp_path / "L8R")
    weights = folder / "checkpoints/final.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WrongRequest, match=r"final.safetensors is not a whole safetensors file"):
        load(folder)
    weights.unlink()
    with pytest.raises(
        WrongRequest, match=r"checkpoints is not there, is empty or is a file: looked for final.safetensors"
    ):
        load(folder)
    (folder / "hyperparams.json").unlink()
    with pytest.raises(WrongRequest, match=r"has no hyperparams.json: it holds checkpoints"):
        load(folder)


@pytest.mark.parametrize("write", [first, later])
def test_the_digest_is_of_config_and_weights(tmp_path: Path, write: type) -> None:
    """Equal files have equal digests wherever they lie; another config or other weights have another."""
    folders = [
        write(tmp_path / "a"), write(tmp_path / "b"), write(tmp_path / "c", {"top_k": 3}),
        write(tmp_path / "d", encoder__bias=random(WIDTH, seed=9)),
    ]  # fmt: skip
    digests = [LlamaScope(path=str(folder)).digest(None) for folder in folders]
    assert digests[0] == digests[1]
    assert 3 == len(set(digests))
