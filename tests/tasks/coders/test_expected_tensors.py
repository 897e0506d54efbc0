"""A tensor that the declared coder does not use is refused by its name, in every format; known bookkeeping is not."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.auto import checkpoint_formats
from tasks.coders.base import TRAINING_STATISTICS, Checkpoint, ExpectedTensors
from tasks.coders.circuit_tracer import CircuitTracer
from tasks.coders.dictionary_learning import CLASSES, DictionaryLearning
from tasks.coders.gemma_scope import GemmaScope
from tasks.coders.gemma_scope_2 import GemmaScope2
from tasks.coders.goodfire import Goodfire
from tasks.coders.llama_scope import LlamaScope
from tasks.coders.openai import OpenAI
from tasks.coders.qwen_scope import QwenScope
from tasks.coders.saelens import AUTOENCODERS, TRANSCODERS, SAELens
from tasks.coders.sparse_coder import SparseCoder
from tasks.coders.sparsify import Sparsify
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random
from tests.tasks.coders.formula import PLACE

Tensors = dict[str, Tensor]


class Written(NamedTuple):
    """A checkpoint that loads, and the file with its weights."""

    source: Checkpoint
    weights: Path
    content: dict[str, object]

    def load(self) -> SparseCoder:
        """The coder, at a module's input where it reads that."""
        reads_input = isinstance(self.source, Sparsify) and "W_skip" in self.content
        return self.source.load(None, PLACE._replace(site="layers.2.input") if reads_input else PLACE)


def _put(file: Path, content: dict) -> None:
    """Write tensors as the file's ending says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":
        save_file({name: tensor.clone() for name, tensor in content.items()}, file)
    elif file.suffix == ".npz":
        np.savez(file, **{name: tensor.numpy() for name, tensor in content.items()})
    else:
        torch.save(content, file)


def _written(
    source: Checkpoint, file: Path, content: dict, config: Path | None = None, stated: object = None
) -> Written:
    if config is not None:
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps(stated))
    _put(file, content)
    return Written(source, file, content)


ENCODER, DECODER = random(WIDTH, D_IN, seed=1), random(WIDTH, D_IN, seed=2)
WIDE, NARROW = random(WIDTH, seed=3), random(D_IN, seed=4)
ROWS: Tensors = {"W_enc": ENCODER, "W_dec": DECODER, "b_enc": WIDE, "b_dec": NARROW}
COLUMNS: Tensors = ROWS | {"W_enc": ENCODER.T.contiguous()}
LINEAR: Tensors = {
    "encoder.weight": ENCODER, "encoder.bias": WIDE, "decoder.weight": DECODER.T.contiguous(), "decoder.bias": NARROW,
}  # fmt: skip
SQUARE = random(D_IN, D_IN, seed=5)
POSITIVE = WIDE.abs()

SAELENS: dict[str, Tensors] = {
    "standard": COLUMNS,
    "topk": COLUMNS,
    "abstopk": COLUMNS,
    "jumprelu": COLUMNS | {"threshold": POSITIVE},
    "gated": {n: t for n, t in COLUMNS.items() if n != "b_enc"}
    | dict.fromkeys(("b_gate", "b_mag", "r_mag"), WIDE),
    "matching_pursuit": {"W_dec": DECODER, "b_dec": NARROW},
    "transcoder": COLUMNS,
    "skip_transcoder": COLUMNS | {"W_skip": SQUARE},
    "jumprelu_transcoder": COLUMNS | {"threshold": POSITIVE},
    "jumprelu_skip_transcoder": COLUMNS | {"threshold": POSITIVE, "W_skip": SQUARE},
}
"""Tensors that SAELens saves, by architecture."""

COUNT = {"k": torch.tensor(5, dtype=torch.int)}
TOPK = (
    {n: t for n, t in LINEAR.items() if n != "decoder.bias"}
    | COUNT
    | {"b_dec": NARROW, "threshold": torch.tensor(0.2)}
)
MATRYOSHKA = COLUMNS | COUNT | {"threshold": torch.tensor(0.2), "group_sizes": torch.tensor([16, 48])}
WEIGHTS = {n: t for n, t in LINEAR.items() if n.endswith("weight")}
LIBRARY: dict[str, Tensors] = {
    "AutoEncoder": WEIGHTS | {"encoder.bias": WIDE, "bias": NARROW},
    "AutoEncoderNew": LINEAR,
    "GatedAutoEncoder": WEIGHTS
    | dict.fromkeys(("r_mag", "gate_bias", "mag_bias"), WIDE)
    | {"decoder_bias": NARROW},
    "JumpReluAutoEncoder": COLUMNS | {"threshold": POSITIVE},
    "AutoEncoderTopK": TOPK,
    "BatchTopKSAE": TOPK,
    "MatryoshkaBatchTopKSAE": MATRYOSHKA,
    "MatroyshkaBatchTopKSAE": MATRYOSHKA,
}
"""Tensors that dictionary_learning saves, by class: parameters and registered buffers."""


def _saelens(architecture: str) -> Callable[[Path], Written]:
    stated = {"architecture": architecture, "d_in": D_IN, "d_sae": WIDTH, "k": 5, "metadata": {}}
    stated |= {"d_out": D_IN, "apply_b_dec_to_input": False} if architecture in TRANSCODERS else {}

    def make(folder: Path) -> Written:
        source = SAELens(path=str(folder))
        return _written(
            source, folder / "sae_weights.safetensors", SAELENS[architecture], folder / "cfg.json", stated
        )

    return make


def _dictionary_learning(name: str) -> Callable[[Path], Written]:
    stated = {"trainer": {"dict_class": name, "activation_dim": D_IN, "dict_size": WIDTH}}
    return lambda folder: _written(
        DictionaryLearning(path=str(folder)), folder / "ae.pt", LIBRARY[name], folder / "config.json", stated
    )


def _sparsify(*, skip: bool) -> Callable[[Path], Written]:
    stated = {"d_in": D_IN, "num_latents": WIDTH, "k": 5, "skip_connection": skip}
    held = {"encoder.weight": ENCODER, "encoder.bias": WIDE, "W_dec": DECODER, "b_dec": NARROW}
    held |= {"W_skip": SQUARE} if skip else {}
    return lambda folder: _written(
        Sparsify(path=str(folder)), folder / "sae.safetensors", held, folder / "cfg.json", stated
    )


def _circuit_tracer(config: dict, more: Tensors) -> Callable[[Path], Written]:
    stated = {
        "model_kind": "transcoder_set",
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "hook_mlp_out",
    }
    return lambda folder: _written(
        CircuitTracer(path=str(folder), layer=2),
        folder / "layer_2.safetensors",
        ROWS | more,
        folder / "config.yaml",
        stated | config,
    )


def _cross_layer(changed: str) -> Callable[[Path], Written]:
    def make(folder: Path) -> Written:
        files = {
            "W_enc_2": {"W_enc_2": ENCODER, "b_enc_2": WIDE, "b_dec_2": NARROW, "threshold_2": POSITIVE}
            | {"W_skip_2": SQUARE},
            "W_dec_2": {"W_dec_2": random(WIDTH, 3, D_IN, seed=6)},
        }
        for name, held in files.items():
            _put(folder / f"{name}.safetensors", held)
        hooks = {"feature_input_hook": "hook_resid_mid", "feature_output_hook": "hook_mlp_out"}
        stated = {"model_kind": "cross_layer_transcoder", **hooks}
        source = CircuitTracer(path=str(folder), layer=2)
        return _written(
            source, folder / f"{changed}.safetensors", files[changed], folder / "config.yaml", stated
        )

    return make


LOWER: Tensors = {name.lower(): tensor for name, tensor in COLUMNS.items()} | {"threshold": POSITIVE}


def _gemma_scope(folder: Path) -> Written:
    return _written(
        GemmaScope(path=str(folder), site_kind="res"),
        folder / "params.npz",
        COLUMNS | {"threshold": POSITIVE},
    )


def _gemma_scope_2(*, affine: bool) -> Callable[[Path], Written]:
    stated = {
        "architecture": "jump_relu",
        "affine_connection": affine,
        "hf_hook_point_in": "model.layers.2.output",
    }
    held = LOWER | ({"affine_skip_connection": SQUARE} if affine else {})
    return lambda folder: _written(
        GemmaScope2(path=str(folder)), folder / "params.safetensors", held, folder / "config.json", stated
    )


def _gemma_scope_2_clt(folder: Path) -> Written:
    held = LOWER | {"w_dec": random(WIDTH, 3, D_IN, seed=6), "affine_skip_connection": random(D_IN, 3, D_IN)}
    return _written(GemmaScope2(path=str(folder), layer=2), folder / "params_layer_2.safetensors", held)


def _openai(content: dict) -> Callable[[Path], Written]:
    weights = {"pre_bias": NARROW, "latent_bias": WIDE, "encoder.weight": ENCODER}
    buffers = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
    held = weights | dict.fromkeys(buffers, WIDE) | content
    return lambda folder: _written(OpenAI(path=str(folder / "8.pt")), folder / "8.pt", held)


def _llama_scope(*, later: bool) -> Callable[[Path], Written]:
    norms = {"in": 6.3, "out": 6.3}
    stated = {
        "d_model": D_IN,
        "d_sae": WIDTH,
        "hook_point_in": "blocks.8.hook_resid_post",
        "jump_relu_threshold": 0.4,
    }
    place = (
        ("config.json", "sae_weights.safetensors")
        if later
        else ("hyperparams.json", "checkpoints/final.safetensors")
    )
    held = LINEAR | ({"log_jumprelu_threshold": WIDE} if later else {})
    held |= {"dataset_average_activation_norm.blocks.8.hook_resid_post": torch.tensor(6.3)} if later else {}
    stated |= {} if later else {"dataset_average_activation_norm": norms}
    return lambda folder: _written(
        LlamaScope(path=str(folder)), folder / place[1], held, folder / place[0], stated
    )


def _goodfire(part: str) -> Callable[[Path], Written]:
    held = {name.replace(".", f"{part}."): tensor for name, tensor in LINEAR.items()}
    return lambda folder: _written(Goodfire(path=str(folder / "a.pt")), folder / "a.pt", held)


def _qwen_scope(folder: Path) -> Written:
    held = ROWS | {"W_dec": DECODER.T.contiguous()}
    return _written(QwenScope(path=str(folder), layer=2, k=5), folder / "layer2.sae.pt", held)


RULE = {
    "activation": "TopK",
    "activation_state_dict": {"k": 5, "postact_fn": "ReLU"},
    "activation.k": torch.tensor(5),
}
CHECKPOINTS: dict[str, Callable[[Path], Written]] = {
    **{f"saelens {architecture}": _saelens(architecture) for architecture in SAELENS},
    **{f"dictionary_learning {name}": _dictionary_learning(name) for name in LIBRARY},
    "sparsify": _sparsify(skip=False),
    "sparsify skip": _sparsify(skip=True),
    "circuit_tracer relu": _circuit_tracer({"activation": "relu"}, {"W_skip": SQUARE}),
    "circuit_tracer topk": _circuit_tracer({}, COUNT),
    "circuit_tracer jumprelu": _circuit_tracer({}, {"activation_function.threshold": POSITIVE} | COUNT),
    "circuit_tracer encoder of all layers": _cross_layer("W_enc_2"),
    "circuit_tracer decoder of all layers": _cross_layer("W_dec_2"),
    "gemma_scope": _gemma_scope,
    "gemma_scope_2": _gemma_scope_2(affine=False),
    "gemma_scope_2 affine": _gemma_scope_2(affine=True),
    "gemma_scope_2 clt": _gemma_scope_2_clt,
    "openai relu": _openai({"decoder.weight": DECODER.T.contiguous(), "activation": "ReLU"}),
    "openai topk": _openai({"decoder.weight": DECODER.T.contiguous()} | RULE),
    "openai tied": _openai({"decoder.linear.weight": ENCODER, "activation": "ReLU"}),
    "llama_scope": _llama_scope(later=False),
    "llama_scope r1": _llama_scope(later=True),
    "goodfire": _goodfire("_linear"),
    "goodfire qresearch": _goodfire(""),
    "qwen_scope": _qwen_scope,
}
"""Checkpoints with all that their libraries put into them."""


def test_every_format_is_here() -> None:
    """No format, architecture or class is without a checkpoint below."""
    assert {format_.model_fields["kind"].default for format_ in checkpoint_formats()} == {
        name.split()[0] for name in CHECKPOINTS
    }
    assert {*AUTOENCODERS, *TRANSCODERS} == SAELENS.keys()
    assert CLASSES.keys() == LIBRARY.keys()


NAMES = st.from_regex(r"[a-z]{1,6}(\.[a-z_]{1,8})?", fullmatch=True)
OTHERS = st.sampled_from(["running_mean", "log_threshold", "W_gate", "feature_scale", "mean"])


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_what_a_coder_does_not_use_is_refused(kind: str) -> None:
    """A checkpoint loads as its library saves it, and with one tensor more it is refused by that tensor's name."""

    @settings(deadline=None, max_examples=4, database=None)
    @given(NAMES | OTHERS)
    def holds(name: str) -> None:
        with TemporaryDirectory() as folder:
            written = CHECKPOINTS[kind](Path(folder))
            if name in {*written.content, *TRAINING_STATISTICS, "bias"}:
                return
            assert WIDTH == written.load().width
            _put(written.weights, written.content | {name: random(3)})

            with pytest.raises(WrongRequest) as refused:
                written.load()

            assert f"{written.weights.name} has a tensor {name}, and " in str(refused.value)
            assert "\n" not in str(refused.value)

    holds()


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_bookkeeping_of_a_training_changes_nothing(kind: str, tmp_path: Path) -> None:
    """Counters that a training leaves in the file are let through, and the coder is the same."""
    written = CHECKPOINTS[kind](tmp_path)
    before = written.load()
    encoder = before.encoder.clone()
    _put(
        written.weights, written.content | {"num_tokens_since_fired": random(WIDTH), "step": torch.tensor(9)}
    )

    assert torch.equal(encoder, written.load().encoder)


@pytest.mark.parametrize(
    ("declared", "held", "message"),
    [
        ("standard", "jumprelu", r"threshold, and \S+cfg\.json says architecture standard: .* to jumprelu$"),
        ("topk", "jumprelu", r"a tensor threshold, and \S+ says architecture topk: correct architecture to jumprelu$"),
        ("transcoder", "skip_transcoder", r"a tensor W_skip, .* correct architecture to skip_transcoder$"),
        ("skip_transcoder", "jumprelu_skip_transcoder", r"threshold, .* to jumprelu_skip_transcoder$"),
        ("matching_pursuit", "standard", r"tensors W_enc, b_enc, .* to standard or topk or abstopk$"),
    ],
)  # fmt: skip
def test_the_architecture_that_has_the_tensors_is_named(
    tmp_path: Path, declared: str, held: str, message: str
) -> None:
    """Where SAELens' tensors are those of another architecture than the config declares, the sentence names it."""
    written = _saelens(declared)(tmp_path)
    _put(written.weights, dict(SAELENS[held]))

    with pytest.raises(WrongRequest, match=message):
        written.load()


def test_a_denied_skip_connection_is_refused(tmp_path: Path) -> None:
    """A skip connection that the config denies would be added to every reconstruction."""
    for written, name in (
        (_sparsify(skip=False)(tmp_path / "a"), "W_skip"),
        (_gemma_scope_2(affine=False)(tmp_path / "b"), "affine_skip_connection"),
    ):
        _put(written.weights, written.content | {name: SQUARE})
        with pytest.raises(WrongRequest, match=rf"has a tensor {name}, and .* false: correct \w+ to true"):
            written.load()


def test_a_class_that_has_the_tensor_is_named(tmp_path: Path) -> None:
    """A threshold in the file of a plain ReLU coder of dictionary_learning names the classes that have one."""
    written = _dictionary_learning("AutoEncoderNew")(tmp_path)
    _put(written.weights, written.content | {"threshold": POSITIVE})

    message = "says dict_class AutoEncoderNew: correct dict_class, JumpReluAutoEncoder and BatchTopKSAE"
    with pytest.raises(WrongRequest, match=message):
        written.load()


def test_what_lies_beside_an_interrupted_training_is_looked_at_too(tmp_path: Path) -> None:
    """Of what an interrupted run leaves, the coder's own tensors are checked, and its factor may be a tensor."""
    written = _dictionary_learning("AutoEncoderTopK")(tmp_path)
    backup = {"step": 3, "ae": written.content, "optimizer": {"state": {}}, "norm_factor": torch.tensor(2.0)}
    bias = written.load().encoder_bias.clone()
    _put(written.weights, backup)

    assert torch.equal(2 * bias, written.load().encoder_bias)
    for broken, name in (
        ({"ae": written.content | {"shift": WIDE}}, "shift"),
        ({"scale": torch.tensor(2.0)}, "scale"),
    ):
        _put(written.weights, backup | broken)
        with pytest.raises(WrongRequest, match=f"has a tensor {name}, and"):
            written.load()


def test_a_few_names_stand_for_many() -> None:
    """The sentence names a few of many tensors and counts the others."""
    with pytest.raises(WrongRequest, match=r"^f has tensors a, b, c, d and 2 more, and it says so: correct"):
        ExpectedTensors({}, "it says so").refuse_others("f", "fedcba")
