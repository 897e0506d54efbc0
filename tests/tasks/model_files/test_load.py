"""Causal models and tokenizers load from safetensors alone, and whatever is wrong with them is refused."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import httpx
import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.model_files import load as loading
from tasks.model_files.causal_model import CausalModelFiles
from tests.tasks.activations.models import D


def load(place: Path | str, device: str = "cpu") -> PreTrainedModel:
    """The tokenizer first, as a run does."""
    model = CausalModelFiles(str(place))
    model.tokenizer()
    return model.load("float32", device)


def test_digests_are_of_contents(folder: Path, tmp_path: Path) -> None:
    """A copy has the same digests; a changed weight changes the model's and not the tokenizer's."""
    shutil.copytree(folder, tmp_path / "copy")
    original, there = CausalModelFiles(str(folder)), CausalModelFiles(str(tmp_path / "copy"))

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
        load(folder)


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
        load(folder)

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
        load(folder)


def test_without_a_network_only_the_cache_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the Hub's name cannot be resolved no file of it is asked for again and again."""
    monkeypatch.setattr(files, "hub_reachable", lambda: False)
    monkeypatch.setattr(httpx.Client, "send", lambda *_, **__: pytest.fail("the Hub was asked"))

    for ask in (CausalModelFiles("none/none").tokenizer, partial(load, "none/none")):
        with pytest.raises(WrongRequest, match="there is no folder none/none, and the Hub gives no model"):
            ask()


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    """A path where nothing lies is refused before anything is asked of the Hub."""
    with pytest.raises(WrongRequest, match=r"there is no folder .*/none: correct subject\.model"):
        load(tmp_path / "none")


def test_a_name_that_is_no_folder_and_not_on_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be meant as either, so both are said."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        WrongRequest, match="there is no folder none, and the Hub gives no model of that name"
    ):
        load("none")


def test_a_digest_of_nothing_is_refused(tmp_path: Path) -> None:
    """There is no fingerprint of a model that is not there."""
    with pytest.raises(WrongRequest, match="there is no folder"):
        CausalModelFiles(str(tmp_path / "none")).digest()


def test_a_folder_has_no_revision(folder: Path) -> None:
    """A revision of a local folder would be ignored in silence, so it is refused."""
    with pytest.raises(WrongRequest, match="has no revisions"):
        CausalModelFiles(str(folder), "main").load("float32", "cpu")


def test_an_unknown_device_is_refused(folder: Path) -> None:
    """A device that the machine lacks is refused by name."""
    with pytest.raises(WrongRequest, match="no device gpu"):
        load(folder, "gpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_machine_without_cuda_says_so(folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to write instead."""

    def refuse(*_: object, **__: object) -> None:
        message = "no CUDA here"
        raise RuntimeError(message)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(WrongRequest) as refused:
        load(folder, device)
    assert (
        f"device is {device}, and this machine has no CUDA device (no CUDA here): write auto or cpu"
        == str(refused.value)
    )


def test_a_model_larger_than_memory_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its weights are read, which the system would end the process for."""
    parameters = sum(weight.numel() for weight in load(folder).parameters())
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(b"")
    for dtype, size, more in (("float32", 4, ", or halve it with dtype bfloat16"), ("bfloat16", 2, "")):
        monkeypatch.setattr(loading, "available_memory", lambda size=size: size * parameters - 1)
        with pytest.raises(
            WrongRequest, match=f"memory in {dtype}, and .* free: name a smaller model{more}$"
        ):
            CausalModelFiles(str(folder)).load(dtype, "cpu")
    weights.write_bytes(whole)
    monkeypatch.setattr(loading, "available_memory", lambda: 4 * parameters)
    assert not load(folder).training


def test_a_reader_is_named_by_its_key(folder: Path) -> None:
    """The same file may be read for the subject and for a reader: a message says whose is at fault."""
    _corrupt(folder)

    with pytest.raises(
        WrongRequest, match=r"the model .*/subject \(readers\.judge\.model\) cannot be loaded"
    ):
        CausalModelFiles(str(folder), key="readers.judge.model").load("float32", "cpu")
    with pytest.raises(WrongRequest, match=r"there is no folder .*: correct readers\.judge\.model"):
        CausalModelFiles(str(folder / "none"), key="readers.judge.model").tokenizer()
