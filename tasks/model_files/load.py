"""Loading causal language models and fast tokenizers with transformers, from safetensors alone and without their code.

What cannot be loaded is refused in one sentence with the name that the config has for it, and what to do.
"""

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.model_files.memory import available_memory

LIBRARIES = {
    "aqlm": "aqlm",
    "awq": "gptqmodel",
    "bitsandbytes": "accelerate and bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "eetq": "eetq",
    "fbgemm_fp8": "fbgemm-gpu",
    "fp8": "accelerate",
    "gptq": "optimum and gptqmodel",
    "hqq": "hqq",
    "mxfp4": "kernels and triton",
    "quanto": "optimum-quanto",
    "torchao": "torchao",
}
"""Packages that transformers needs for quantised checkpoints, by the method that their config names."""


def load_tokenizer(
    place: str, revision: str | None = None, shown: str | None = None
) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a folder or a name on the Hub, which messages call `shown`.

    Raises `WrongRequest` if there is none.
    """
    shown = shown or place
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            place, revision=revision, trust_remote_code=False, local_files_only=_only_cached(place)
        )
    except Exception as error:  # broken files make transformers raise errors of any type
        _refuse_absent(place, shown, error)
        msg = f"the tokenizer of {shown} cannot be loaded ({_first_line(error)}): check its files"
        raise WrongRequest(msg) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        msg = f"the tokenizer of {shown} is a slow one: save it with a tokenizer.json"
        raise WrongRequest(msg)
    return tokenizer


def load_causal_model(
    place: str, revision: str | None, dtype: str, device: str, shown: str | None = None
) -> PreTrainedModel:
    """The model of a folder or a name on the Hub, for inference, on its device; messages call it `shown`.

    `dtype` is a name of torch's, `device` one of torch's or `auto`. Raises `WrongRequest` unless its safetensors hold
    every weight and it fits into memory.
    """
    shown = shown or place
    on = _device(device)
    _refuse_larger_than_memory(place, revision, dtype, shown)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            place,
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            local_files_only=_only_cached(place),
        )
    except Exception as error:  # broken files and quantisation libraries raise errors of any type
        _refuse_absent(place, shown, error)
        msg = f"the model {shown} cannot be loaded ({_first_line(error)}): {_remedy(place, revision)}"
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    # With output_loading_info, transformers returns a pair, which its annotations don't show.
    model, report = cast("tuple[PreTrainedModel, dict[str, set[str]]]", loaded)
    method = _quantisation(place, revision)
    if method is not None and getattr(model, "hf_quantizer", None) is None:
        # transformers would take the stored numbers for weights.
        msg = (
            f"the model {shown} is stored quantised ({method}), which transformers does not know: use another"
        )
        raise WrongRequest(msg)
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would initialise them at random and go on.
        msg = f"the model {shown} lacks {len(missing)} weights, {missing[0]} first: fetch it again"
        raise WrongRequest(msg)
    model.requires_grad_(requires_grad=False)
    try:
        nn.Module.to(model.eval(), on)  # transformers' own `to` has no type that a checker follows
    except RuntimeError as error:  # how torch says that a device is full
        msg = (
            f"the model {shown} cannot be moved to the device {on} ({_first_line(error)}): name another device, "
            "or halve the model's size with dtype bfloat16"
        )
        raise WrongRequest(msg) from error
    return model


def _refuse_absent(place: str, shown: str, error: Exception) -> None:
    """Raise `WrongRequest` if an error of transformers means that there is no such model."""
    if isinstance(error, OSError) and not Path(place).exists():
        msg = (
            f"there is no folder {shown}, and the Hub gives no model of that name ({_first_line(error)}): "
            "correct the name, or fetch the model first"
        )
        raise WrongRequest(msg) from error


def _refuse_larger_than_memory(place: str, revision: str | None, dtype: str, shown: str) -> None:
    """Raise `WrongRequest` for a model whose weights are more than this process may take: it would be killed."""
    free, needed = available_memory(), _weight_bytes(place, revision, getattr(torch, dtype))
    if free is not None and needed is not None and needed > free:
        halve = ", or halve it with dtype bfloat16" if dtype == "float32" else ""
        msg = (
            f"the model {shown} takes {needed / 1e9:,.1f} GB of memory in {dtype}, and {free / 1e9:,.1f} GB are free: "
            f"name a smaller model{halve}"
        )
        raise WrongRequest(msg)


def _weight_bytes(place: str, revision: str | None, dtype: torch.dtype) -> int | None:
    """Bytes of a model's weights in a dtype, by its config; null for quantised ones and where that cannot be told."""
    try:
        config = AutoConfig.from_pretrained(
            place, revision=revision, trust_remote_code=False, local_files_only=_only_cached(place)
        )
        if getattr(config, "quantization_config", None) or getattr(config, "compression_config", None):
            return None
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        return sum(weight.nbytes for weight in model.parameters())
    except Exception:  # noqa: BLE001  (a model that cannot be built has no size; loading reports the error)
        return None


def _only_cached(place: str) -> bool:
    """Whether to use only the Hub's local cache, because the Hub cannot be reached."""
    return not Path(place).exists() and not files.hub_reachable()


def _remedy(place: str, revision: str | None) -> str:
    """What to do about a model that cannot be loaded."""
    if "gguf" in place.lower():
        return "a GGUF is read from a local file: fetch it with `hf download`, and name the file"
    method = _quantisation(place, revision)
    if method is None:
        return "check its files and its name"
    library = LIBRARIES.get(method, "its library")
    return (
        f"it is stored quantised ({method}), so install {library}, run on a GPU if it needs one, or use a checkpoint "
        "that is not quantised"
    )


def _quantisation(place: str, revision: str | None) -> str | None:
    """The quantisation method that a model's config names; None where it names none."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(
            place, revision=revision, local_files_only=_only_cached(place)
        )
        quantisation = config.get("quantization_config") or config.get("compression_config") or {}
        return str(quantisation.get("quant_method", "unknown method")) if quantisation else None
    except Exception:  # noqa: BLE001  (a config that cannot be read names none; loading reports the error)
        return None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        msg = f"there is no device {name} here ({_first_line(error)}): write auto, cpu or cuda"
        if name.partition(":")[0] == "cuda" and not torch.cuda.is_available():
            msg = f"device is {name}, and this machine has no CUDA device ({_first_line(error)}): write auto or cpu"
        raise WrongRequest(msg) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".:")
