"""Each kind of SAELens checkpoint agrees with its formula written out; what is unknown is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.base import DeclaredSite, HookSite
from tasks.coders.saelens import SAELens
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random

THRESHOLD = random(WIDTH, seed=5).abs() * 3
PLACE = HookSite("layers.2", D_IN)
D_OUT = 12

GATES = {
    "b_enc": None,
    **{name: random(WIDTH, seed=6 + i) / 2 for i, name in enumerate(("b_gate", "b_mag", "r_mag"))},
}
ELSEWHERE = {
    "W_dec": random(WIDTH, D_OUT, seed=3),
    "b_dec": random(D_OUT, seed=4),
    "W_skip": random(D_OUT, D_IN, seed=11),
}
TRANSCODER = {"d_out": D_OUT, "apply_b_dec_to_input": False}


def load(folder: Path, **options: float) -> SparseCoder:
    """Load the coder."""
    return SAELens.model_validate({"path": str(folder), **options}).load(None, PLACE)


def dense(coder: SparseCoder, x: Tensor) -> Tensor:
    """The coder's activations as a matrix."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


def normalised(x: Tensor, kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """The input as the config's `normalize_activations` has it, its shift and its scale."""
    if kind == "layer_norm":
        mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        return (x - mean) / (std + 1e-5), mean, std
    if kind == "constant_norm_rescale":
        scale = x.norm(dim=1, keepdim=True) / D_IN**0.5
        return x / scale, torch.zeros(1), scale
    return x, torch.zeros(1), torch.ones(1)


def kept(p: Tensor, k: int, *, by: Tensor) -> Tensor:
    """Those of `p` that stand where the k largest of `by` do, and zeros."""
    top = by.topk(k).indices
    return torch.zeros_like(p).scatter(1, top, p.gather(1, top))


def activations(p: Tensor, architecture: str) -> Tensor:
    """The rule of each architecture on pre-activations."""
    match architecture:
        case "topk":
            return torch.relu(kept(p, 7, by=p))
        case "abstopk":
            return kept(p, 7, by=p.abs())
        case "jumprelu" | "jumprelu_transcoder" | "jumprelu_skip_transcoder":
            return torch.relu(p) * (p > THRESHOLD)
        case _:
            return torch.relu(p)


@pytest.mark.parametrize("architecture", ["standard", "topk", "abstopk", "jumprelu"])
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

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-3, atol=1e-3)
    assert (7 if "topk" in architecture else None) == coder.declared_l0
    assert coder.target == SAME_SITE


@pytest.mark.parametrize("subtract", [True, False])
def test_gated_has_two_biases_and_a_scale(saelens: Write, x: Tensor, *, subtract: bool) -> None:
    """A feature fires where its gate is open, as strongly as its magnitude says, if that is above zero."""
    folder = saelens({"architecture": "gated", "apply_b_dec_to_input": subtract}, GATES)
    w = load_file(folder / "sae_weights.safetensors")

    ready = x - subtract * w["b_dec"]
    magnitude = torch.relu(ready @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"])
    expected = magnitude * (ready @ w["W_enc"] + w["b_gate"] > 0)

    torch.testing.assert_close(dense(load(folder), x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("jump", ["", "jumprelu_"])
@pytest.mark.parametrize("skip", ["", "skip_"])
@pytest.mark.parametrize("normalise", ["none", "layer_norm", "constant_norm_rescale"])
def test_a_transcoder_writes_elsewhere(
    saelens: Write, x: Tensor, jump: str, skip: str, normalise: str
) -> None:
    """It subtracts nothing, skips with the raw input, and what it writes keeps its own scale and width."""
    architecture = f"{jump}{skip}transcoder"
    named = {"hook_name": "blocks.2.hook_mlp_in", "hook_name_out": "blocks.2.hook_mlp_out"}
    cfg = {"architecture": architecture, "normalize_activations": normalise, "metadata": named}
    folder = saelens(TRANSCODER | cfg, ELSEWHERE | {"threshold": THRESHOLD})
    w = load_file(folder / "sae_weights.safetensors")

    ready, _, _ = normalised(x, normalise)
    expected = activations(ready @ w["W_enc"] + w["b_enc"], architecture)
    back = expected @ w["W_dec"] + w["b_dec"] + (x @ w["W_skip"].T if skip else 0)
    coder = load(folder)

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-3, atol=1e-3)
    assert (D_OUT, "blocks.2.hook_mlp_out") == (coder.d_out, coder.target)
    assert DeclaredSite("blocks.2.hook_mlp_in") == SAELens(path=str(folder)).declared_site()


def test_a_transcoder_without_a_target_has_none(saelens: Write) -> None:
    """Where a checkpoint does not say what it writes, nothing can be compared with it."""
    assert load(saelens(TRANSCODER | {"architecture": "transcoder"}, ELSEWHERE)).target is None


@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
def test_topk_rescales_by_decoder_norm(saelens: Write, x: Tensor, architecture: str) -> None:
    """Rescaled topk ranks by p * norm of the decoder row, and decodes by activation / norm."""
    decoder = random(WIDTH, D_IN, seed=3) * torch.arange(WIDTH)[:, None]  # one row is zero
    cfg = {"architecture": architecture, "k": 7, "rescale_acts_by_decoder_norm": True}
    folder = saelens(cfg, {"W_dec": decoder})
    w = load_file(folder / "sae_weights.safetensors")

    norm = decoder.norm(dim=1)
    expected = activations(((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norm, architecture)
    back = (expected / norm.clamp(min=1e-9)) @ decoder + w["b_dec"]
    coder = load(folder)

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated", "topk", "transcoder"])
def test_a_norm_factor_is_folded(saelens: Write, x: Tensor, architecture: str) -> None:
    """A coder trained on vectors times a factor fires on the vectors as it did on those, and reconstructs them."""
    written = TRANSCODER if architecture == "transcoder" else {}
    tensors = (
        (GATES if architecture == "gated" else {}) | (ELSEWHERE if written else {}) | {"threshold": THRESHOLD}
    )
    cfg = written | {"architecture": architecture, "k": 7}
    trained = load(saelens(cfg, tensors))
    expected = trained.encode(3 * x)

    coder = load(saelens(cfg | {"normalize_activations": "expected_average_only_in"}, tensors), norm_factor=3)

    torch.testing.assert_close(dense(coder, x), dense(trained, 3 * x), rtol=1e-4, atol=1e-4)
    back = trained.reconstruct(3 * x, expected) / 3
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-3, atol=1e-3)


def test_a_norm_factor_shrinks_what_matching_pursuit_adds_up(saelens: Write, x: Tensor) -> None:
    """A tied coder keeps its rows, so that its activations are those of the smaller vectors."""
    rows = torch.nn.functional.normalize(random(WIDTH, D_IN, seed=3), dim=1)
    cfg = {"architecture": "matching_pursuit", "residual_threshold": 3.0}
    tensors = {"W_dec": rows, "W_enc": None, "b_enc": None}
    trained = load(saelens(cfg, tensors))

    coder = load(saelens(cfg | {"normalize_activations": "expected_average_only_in"}, tensors), norm_factor=3)

    torch.testing.assert_close(dense(coder, x), dense(trained, 3 * x) / 3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated", "jumprelu_transcoder"])
def test_decoder_norms_are_folded_when_asked(saelens: Write, x: Tensor, architecture: str) -> None:
    """The same features fire, times the length of their decoder rows, and stand for the same vectors."""
    written = TRANSCODER if "transcoder" in architecture else {}
    tensors = (
        (GATES if architecture == "gated" else {}) | (ELSEWHERE if written else {}) | {"threshold": THRESHOLD}
    )
    folder = saelens(written | {"architecture": architecture}, tensors)
    norm = load_file(folder / "sae_weights.safetensors")["W_dec"].norm(dim=1)
    plain = load(folder)

    folded = load(folder, fold_decoder_norm=True)

    torch.testing.assert_close(dense(folded, x), dense(plain, x) * norm, rtol=1e-4, atol=1e-4)
    back = plain.reconstruct(x, plain.encode(x))
    torch.testing.assert_close(folded.reconstruct(x, folded.encode(x)), back, rtol=1e-3, atol=1e-3)


FLAT = {"metadata": None, "architecture": None, "normalize_activations": None}


def test_scaling_factor_of_ones_is_nothing(saelens: Write) -> None:
    """Old checkpoints carry a scaling factor of ones, which means nothing."""
    assert WIDTH == load(saelens(FLAT, {"scaling_factor": torch.ones(WIDTH)})).width


def test_a_fine_tuned_scaling_factor_scales_what_is_written(saelens: Write, x: Tensor) -> None:
    """Activations are as before the fine-tuning, and decoded times their factors."""
    factor = random(WIDTH, seed=8)
    folder = saelens(FLAT | {"finetuning_scaling_factor": True}, {"scaling_factor": factor})
    w = load_file(folder / "sae_weights.safetensors")

    coder = load(folder)
    expected = torch.relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    back = (expected * factor) @ w["W_dec"] + w["b_dec"]

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(saelens: Write, dtype: torch.dtype) -> None:
    """Weights and thresholds stored in half precision are computed with in float32."""
    folder = saelens({"architecture": "jumprelu"}, {"threshold": THRESHOLD})
    file = folder / "sae_weights.safetensors"
    half = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    save_file(half, file)

    coder = load(folder)

    assert torch.equal(half["W_enc"].float().T, coder.encoder)
    assert torch.float32 == coder.encoder_bias.dtype


def test_nothing_is_copied_that_is_not_folded(saelens: Write) -> None:
    """The encoder is a view of what was read, turned by 90 degrees."""
    assert (1, WIDTH) == load(saelens()).encoder.stride()


@pytest.mark.parametrize(
    ("cfg", "options", "message"),
    [
        ({}, {"norm_factor": 2}, "normalize_activations none, which takes no factor"),
        (
            {"architecture": "topk", "k": 7},
            {"fold_decoder_norm": True},
            "topk coder.*leave fold_decoder_norm out",
        ),
        ({"architecture": "matching_pursuit"}, {"fold_decoder_norm": True}, "leave fold_decoder_norm out"),
    ],
)
def test_options_without_a_use_are_refused(saelens: Write, cfg: dict, options: dict, message: str) -> None:
    """An option that would change nothing, or what fires, is refused instead of ignored."""
    with pytest.raises(WrongRequest, match=rf"cfg\.json.*{message}"):
        load(saelens(cfg), **options)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"b_enc": None}, "no tensor b_enc"),
        ({"W_dec": random(D_IN, WIDTH)}, "W_dec has shape"),
        ({"W_enc": torch.full((D_IN, WIDTH), torch.nan)}, "W_enc holds NaN"),
        ({"scaling_factor": torch.full((WIDTH,), 2.0)}, "scaling_factor"),
    ],
)
def test_wrong_tensors_are_refused(saelens: Write, tensors: dict, message: str) -> None:
    """A missing, misshapen or broken tensor is named with its file."""
    with pytest.raises(WrongRequest, match=f"sae_weights.safetensors.*{message}"):
        load(saelens(tensors=tensors))


@pytest.mark.parametrize(
    ("architecture", "lacks"),
    [
        ("jumprelu", "threshold"),
        ("gated", "b_gate"),
        ("skip_transcoder", "W_skip"),
    ],
)
def test_an_architecture_needs_its_tensors(saelens: Write, architecture: str, lacks: str) -> None:
    """What an architecture has besides its matrices has to be there."""
    written = {"d_out": D_IN, "apply_b_dec_to_input": False} if "transcoder" in architecture else {}
    with pytest.raises(WrongRequest, match=f"no tensor {lacks}"):
        load(saelens(written | {"architecture": architecture}))


@pytest.mark.parametrize("content", [b"not tensors", None])
def test_corrupt_weights_are_refused(saelens: Write, content: bytes | None) -> None:
    """A file that is no safetensors, or not all of it, is refused by name."""
    file = saelens() / "sae_weights.safetensors"
    file.write_bytes(content or file.read_bytes()[:-100])

    with pytest.raises(WrongRequest, match=r"sae_weights.safetensors is not a whole safetensors file"):
        load(file.parent)


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_a_config_that_is_none_is_refused(saelens: Write, text: str | None) -> None:
    """A config that is missing or no JSON object is refused by name."""
    config = saelens() / "cfg.json"
    config.unlink() if text is None else config.write_text(text)

    with pytest.raises(WrongRequest, match=r"cfg\.json"):
        load(config.parent)


def test_pickle_is_refused(saelens: Write) -> None:
    """What the library's forerunner pickled is refused by name, with the way to convert it."""
    folder = saelens()
    (folder / "sae_weights.safetensors").rename(folder / "final_sparse_autoencoder.pt")

    with pytest.raises(WrongRequest, match=r"final_sparse_autoencoder\.pt, a pickle.*convert"):
        load(folder)


def test_is_found_by_its_config(saelens: Write, sparsify: Write, tmp_path: Path) -> None:
    """A folder is this format's if its config is, of version 6 or before; others' folders and none are not."""
    for cfg in ({}, FLAT):
        folder = str(saelens(cfg))
        assert SAELens(path=folder) == SAELens.detect(folder, None)
    assert SAELens.detect(str(sparsify()), None) is None
    (tmp_path / "other").mkdir()
    for text in ("{}", "[]", "{", '{"d_in": 16, "dict_size": 64}'):
        (tmp_path / "other/cfg.json").write_text(text)
        assert SAELens.detect(str(tmp_path / "other"), None) is None
    assert SAELens.detect(str(tmp_path), None) is None
    assert SAELens.detect(str(tmp_path / "nowhere"), None) is None
    assert SAELens.detect(str(tmp_path / "other/cfg.json"), None) is None


def test_digest_is_of_contents(saelens: Write) -> None:
    """Another config or other weights are another checkpoint."""
    folder = saelens()
    source = SAELens(path=str(folder))
    before = source.digest(None)

    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | {"apply_b_dec_to_input": False}))

    assert before != source.digest(None)
