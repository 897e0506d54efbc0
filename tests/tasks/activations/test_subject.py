"""The loaded subject model knows its sites, unembedding and final norm."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig

from storage.errors import WrongRequest
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.activations.subject import Subject
from tests.tasks.activations.models import D, model, words


def test_loads_for_running_forward(folder: Path) -> None:
    """A loaded model is in evaluation mode, without gradients, on a real device, with its tokenizer."""
    subject = Subject(model=str(folder)).load()

    assert not subject.model.training
    assert not any(weight.requires_grad for weight in subject.model.parameters())
    assert subject.device.type in {"cpu", "cuda"}
    assert 0 == subject.bos


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_computes_in_the_dtype_asked_for(folder: Path, dtype: str) -> None:
    """The config's dtype is the model's."""
    subject = Subject.model_validate({"model": str(folder), "dtype": dtype, "device": "cpu"}).load()

    assert getattr(torch, dtype) == subject.model.dtype


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("llama", "layers.2"), ("llama", "model.layers.2"), ("llama", "layers.2.mlp"), ("llama", "lm_head"),
        ("gpt2", "h.2"), ("gpt2", "transformer.h.2.attn"), ("neox", "layers.2"),
        ("neox", "layers.2.attention"),
    ],
)  # fmt: skip
def test_sites_are_found_under_wrappers(subjects: dict[str, LoadedSubject], kind: str, name: str) -> None:
    """A module is found by its name with or without its architecture's wrapper."""
    subject = subjects[kind]
    result = subject.resolve(Site.parse(name))
    (path,) = [path for path, module in subject.model.named_modules() if module is result]

    assert path.endswith(name)


def test_unknown_site_names_the_nearest(llama: LoadedSubject) -> None:
    """A site that matches nothing is refused with the modules nearest to it."""
    with pytest.raises(WrongRequest, match=r"no site layer\.2\.mpl.*layers\.2\.mlp"):
        llama.resolve(Site.parse("layer.2.mpl"))


def test_a_wrapper_that_the_model_has_not_is_no_hindrance(llama: LoadedSubject) -> None:
    """A path with the wrapper of another version of the architecture is the same module."""
    assert llama.resolve(Site("layers.2")) is llama.resolve(Site("model.language_model.layers.2"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("llama", "layers.1.mlp.down_proj.input"), ("gpt2", "h.1.mlp.c_proj.input"),
        ("neox", "layers.1.mlp.dense_4h_to_h.input"),
    ],
)  # fmt: skip
def test_a_linear_map_writes_its_rows(subjects: dict[str, LoadedSubject], kind: str, name: str) -> None:
    """A coordinate at 1 and the others at 0 write its row, whichever way round the weight is stored."""
    site = Site.parse(name)
    linear = subjects[kind].resolve(site)

    rows = subjects[kind].writes(site)

    assert rows is not None
    neurons = rows.shape[0]
    assert (neurons, D) == rows.shape != (D, D)
    moved = linear(torch.eye(neurons)) - linear(torch.zeros(1, neurons))
    torch.testing.assert_close(moved, rows)


@pytest.mark.parametrize(
    "name",
    [
        "layers.1", "layers.1.input", "layers.1.mlp.down_proj", "layers.1.mlp.input", "embed_tokens.input",
        "norm.input", "layers.1.mlp.down_proj.input:centred",
    ],
)  # fmt: skip
def test_anything_else_writes_no_rows(llama: LoadedSubject, name: str) -> None:
    """Where no linear map, or more than one, reads a site, its coordinates have no direction."""
    assert llama.writes(Site.parse(name)) is None


def test_unembedding_leaves_out_padding(subject: LoadedSubject) -> None:
    """The unembedding has a row for every token of the tokenizer and none for the model's padding."""
    rows = subject.unembedding()
    assert (len(subject.tokenizer), D) == rows.shape
    assert len(subject.tokenizer) < subject.model.config.vocab_size


def test_neither_unembedding_nor_gain_copies_it() -> None:
    """A head of half precision is read where it lies: a copy in float32 would be the largest tensor of all."""
    head = torch.nn.Linear(D, 320, bias=False, dtype=torch.bfloat16)
    made = model("llama")
    torch.nn.Module.to(made, torch.bfloat16)
    made.set_output_embeddings(head)
    subject = LoadedSubject(made, words(), torch.device("cpu"))

    assert head.weight.data_ptr() == subject.unembedding().data_ptr()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        gain = subject.final_norm_gain()
    assert gain is not None
    assert max(event.cpu_memory_usage for event in seen.events() or []) < head.weight.nbytes


def test_final_norm_gain_is_its_weight(subject: LoadedSubject) -> None:
    """The measured gain of an ordinary norm is its weight."""
    names = ("model.norm", "transformer.ln_f", "gpt_neox.final_layer_norm")
    modules = dict(subject.model.named_modules())
    weight = next(modules[name].get_parameter("weight") for name in names if name in modules)

    gain = subject.final_norm_gain()

    assert gain is not None
    torch.testing.assert_close(gain, weight, rtol=1e-3, atol=1e-3)


def test_final_norm_gain_of_gemma_adds_one() -> None:
    """Gemma stores its gain less one; the measured gain is the whole."""
    config = GemmaConfig(
        vocab_size=300, hidden_size=D, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    made = AutoModelForCausalLM.from_config(config).eval()
    norm = dict(made.named_modules())["model.norm"]
    weight = norm.get_parameter("weight").requires_grad_(requires_grad=False).uniform_(-0.5, 0.5)

    gain = LoadedSubject(made, words(), torch.device("cpu")).final_norm_gain()

    assert gain is not None
    torch.testing.assert_close(gain, 1 + weight, rtol=1e-3, atol=1e-3)
