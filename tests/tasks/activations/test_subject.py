"""The subject model loads from safetensors alone, and knows its sites, unembedding and final norm."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import httpx
import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GemmaConfig

from storage.errors import WrongRequest
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.activations.subject import Subject
from tasks.coders import files
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


def test_digests_are_of_contents(folder: Path, tmp_path: Path) -> None:
    """A copy has the same digests; a changed weight changes the model's and not the tokenizer's."""
    shutil.copytree(folder, tmp_path / "copy")
    original, there = Subject(model=str(folder)), Subject(model=str(tmp_path / "copy"))

    assert (original.digest(), original.tokenizer_digest()) == (there.digest(), there.tokenizer_digest())
    weights = load_file(tmp_path / "copy/model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, tmp_path / "copy/model.safetensors", {"format": "pt"})
    assert original.digest() != there.digest()
    assert original.tokenizer_digest() == there.tokenizer_digest()


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _corrupt(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def _garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no tensors")


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _deep_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 3000 + "1" + "}" * 3000)


def _unknown_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))


def _remote_code(folder: Path) -> None:
    config = {"model_type": "custom", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('ran')")


def _lacking(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _misshapen(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(D + 1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _no_tokenizer(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


def _broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_config, r"is not a model: looked for config\.json"),
        (_no_weights, "cannot be loaded"),
        (_pickled, r"pytorch_model\.bin, a pickle"),
        (_corrupt, "cannot be loaded"),
        (_garbage, "cannot be loaded"),
        (_broken_config, "cannot be loaded"),
        (_deep_config, "cannot be loaded"),
        (_unknown_architecture, "cannot be loaded"),
        (_remote_code, "cannot be loaded"),
        (_lacking, r"lacks 1 weights, model\.layers\.1\.mlp\.up_proj\.weight"),
        (_misshapen, "cannot be loaded"),
        (_no_tokenizer, "is not a tokenizer"),
        (_broken_tokenizer, "tokenizer of .* cannot be loaded"),
    ],
)
def test_a_spoilt_folder_is_refused(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    """A folder that is not a whole model in safetensors is refused, with what is wrong."""
    spoil(folder)

    with pytest.raises(WrongRequest, match=message):
        Subject(model=str(folder), device="cpu").load()


@pytest.mark.parametrize(
    ("method", "more", "library"),
    [
        ("bitsandbytes", {"load_in_4bit": True}, "accelerate and bitsandbytes"),
        ("gptq", {"bits": 4, "group_size": 32}, "optimum and gptqmodel"),
        ("awq", {"bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}, "gptqmodel"),
        ("torchao", {"quant_type": "int8_weight_only"}, "torchao"),
        ("compressed-tensors", {}, "compressed-tensors"),
    ],
)
def test_a_quantised_model_without_its_library_is_refused(
    folder: Path, method: str, more: dict[str, object], library: str
) -> None:
    """A checkpoint stored quantised that cannot be loaded here is refused with its method and what to install."""
    if find_spec({"gptq": "optimum", "awq": "gptqmodel"}.get(method, method.replace("-", "_"))):
        pytest.skip("its library is installed")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, **more}
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(WrongRequest) as refused:
        Subject(model=str(folder), device="cpu").load()

    assert f"the model {folder} cannot be loaded (" in str(refused.value)
    assert f"): it is stored quantised ({method}), so install {library}, " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_quantised_model_of_an_unknown_method_is_refused(folder: Path) -> None:
    """transformers would go on with the stored numbers as if they were weights."""
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "unheard_of"}
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(
        WrongRequest, match=r"stored quantised \(unheard_of\), which transformers does not know"
    ):
        Subject(model=str(folder), device="cpu").load()


def test_gguf_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """A folder with a GGUF file and none of a model's files, or the file itself, is to be converted."""
    (tmp_path / "m.Q4_1.gguf").write_bytes(b"GGUF")

    for path in (tmp_path, tmp_path / "m.Q4_1.gguf"):
        for ask in (Subject.digest, Subject.tokenizer_digest, Subject.tokenizer, Subject.load):
            with pytest.raises(
                WrongRequest, match=r"as GGUF \(m\.Q4_1\.gguf\).*convert it once, as docs/subjects"
            ):
                ask(Subject(model=str(path)))


def test_without_a_network_only_the_cache_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the Hub's name cannot be resolved no file of it is asked for again and again."""
    monkeypatch.setattr(files, "hub_reachable", lambda: False)
    monkeypatch.setattr(httpx.Client, "send", lambda *_, **__: pytest.fail("the Hub was asked"))

    for ask in (Subject.tokenizer, Subject.load):
        with pytest.raises(WrongRequest, match="there is no folder none/none, and the Hub gives no model"):
            ask(Subject(model="none/none"))


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    """A path where nothing lies is refused before anything is asked of the Hub."""
    with pytest.raises(WrongRequest, match=r"there is no folder .*/none: correct subject\.model"):
        Subject(model=str(tmp_path / "none")).load()


def test_a_name_that_is_no_folder_and_not_on_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be meant as either, so both are said."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        WrongRequest, match="there is no folder none, and the Hub gives no model of that name"
    ):
        Subject(model="none").load()


def test_a_digest_of_nothing_is_refused(tmp_path: Path) -> None:
    """There is no fingerprint of a model that is not there."""
    with pytest.raises(WrongRequest, match="there is no folder"):
        Subject(model=str(tmp_path / "none")).digest()


def test_a_folder_has_no_revision(folder: Path) -> None:
    """A revision of a local folder would be ignored in silence, so it is refused."""
    with pytest.raises(WrongRequest, match="has no revisions"):
        Subject(model=str(folder), revision="main").load()


def test_an_unknown_device_is_refused(folder: Path) -> None:
    """A device that the machine lacks is refused by name."""
    with pytest.raises(WrongRequest, match="no device gpu"):
        Subject(model=str(folder), device="gpu").load()


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_machine_without_cuda_says_so(folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to write instead."""

    def refuse(*_: object, **__: object) -> None:
        message = "no CUDA here"
        raise RuntimeError(message)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(WrongRequest) as refused:
        Subject(model=str(folder), device=device).load()
    assert (
        f"device is {device}, and this machine has no CUDA device (no CUDA here): write auto or cpu"
        == str(refused.value)
    )
