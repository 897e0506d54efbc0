"""Conversion of a GGUF file to the Hugging Face layout by transformers, dequantised to float32."""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    __version__,
    modeling_gguf_pytorch_utils,
)
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    GGUF_PRE_TOKENIZER_SPLITS,
    convert_gguf_tokenizer,
    get_gguf_tokenizer,
)
from transformers.integrations.gguf.reader import GgufHeader, read_gguf_metadata
from transformers.utils import logging

from storage.errors import WrongRequest

LIBRARIES = ("gguf", "accelerate")
"""What transformers reads a GGUF with."""

SPLIT_BY_DIGIT = frozenset(
    {"codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder"}
)
"""Values of `tokenizer.ggml.pre` whose vocabularies were learned on text that is split at every digit.

As in llama.cpp (`src/llama-vocab.cpp`, `\\p{N}` before GPT-2's pattern). transformers splits these as GPT-2 does: two
spaces before a number become two tokens instead of one.
"""

SPLIT_AS_GPT2 = frozenset({"default", "gpt-2", "granite-docling", "jais", "mpt", "olmo", "phi-2", "trillion"})
"""Values that transformers' conversion is right about, though it doesn't list them."""


def unknown_split(file: Path) -> str | None:
    """The way of splitting text that a GGUF names, where the conversion doesn't know it and takes GPT-2's instead."""
    metadata = _metadata(file)
    name = metadata.get("tokenizer.ggml.pre")
    known = SPLIT_BY_DIGIT | SPLIT_AS_GPT2 | GGUF_PRE_TOKENIZER_SPLITS.keys()
    return name if metadata.get("tokenizer.ggml.model") == "gpt2" and name and name not in known else None


def build_tokenizer(file: Path, folder: Path) -> None:
    """Write the config and the tokenizer of a GGUF into a folder, with its chat template.

    Raises `WrongRequest` for a GGUF that is damaged or that transformers cannot read.
    """
    metadata = _checked(file)
    with _converting(file, metadata):
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        architecture, parts, options = get_gguf_tokenizer(str(file))
        inner, more = convert_gguf_tokenizer(architecture, parts)
        if metadata.get("tokenizer.ggml.pre") in SPLIT_BY_DIGIT:
            digits = pre_tokenizers.Digits(individual_digits=True)
            inner.pre_tokenizer = pre_tokenizers.Sequence([digits, inner.pre_tokenizer])
        # An architecture's own class would make another tokenizer of the same vocabulary when it is loaded.
        words = PreTrainedTokenizerFast(tokenizer_object=inner, **options, **more)
    with _saving():
        config.save_pretrained(folder)
        words.save_pretrained(folder)


def build_model(file: Path, folder: Path) -> None:
    """Write the config and the weights of a GGUF into a folder, in float32.

    Raises `WrongRequest` for a GGUF that is damaged, that lacks weights or that transformers cannot read.
    """
    metadata = _checked(file)
    with _converting(file, metadata):
        loaded = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
            output_loading_info=True,
        )
        # With output_loading_info, transformers returns a pair, which its annotations don't show.
        model, report = cast("tuple[PreTrainedModel, dict[str, set[str]]]", loaded)
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would initialise them at random and go on.
        msg = f"{file} lacks {len(missing)} of the model's weights, {missing[0]} first: fetch it again"
        raise WrongRequest(msg)
    with _converting(file, metadata):
        fresh = _without_quantiser(model)
    with _saving():
        fresh.save_pretrained(folder)


def _without_quantiser(model: PreTrainedModel) -> PreTrainedModel:
    """A model with the same weights that doesn't know that they come from a GGUF: else it refuses to be saved."""
    config: Any = model.config  # transformers sets the attribute on the fly
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict(), assign=True)
    fresh.tie_weights()
    return fresh


def _checked(file: Path) -> dict[str, Any]:
    """The metadata of a GGUF that is whole. Raises `WrongRequest` for one that is not, or without the libraries."""
    lacking = [name for name in LIBRARIES if find_spec(name) is None]
    if lacking:
        msg = (
            f"{file} is a GGUF, and to convert one takes {' and '.join(lacking)}, not installed here: "
            "pip install 'gloss-sae[real]'"
        )
        raise WrongRequest(msg)
    metadata = _metadata(file)
    try:
        header = GgufHeader.from_file(str(file))
    except ValueError:  # a type of tensors that only the library gguf knows, which checks the sizes as well
        return metadata
    end = max((header.data_start + tensor.offset + tensor.nbytes for tensor in header.tensors), default=0)
    size = file.stat().st_size
    if size < end:
        msg = f"{file} is cut short: it has {size:,} bytes, and its tensors end at {end:,}; fetch it again"
        raise WrongRequest(msg)
    return metadata


def _metadata(file: Path) -> dict[str, Any]:
    try:
        return read_gguf_metadata(str(file))[0]
    except (ValueError, IndexError, OverflowError, MemoryError, struct.error) as error:
        msg = f"{file} is no whole GGUF, its metadata cannot be read ({_reason(error)}): fetch it again"
        raise WrongRequest(msg) from error


@contextmanager
def _converting(file: Path, metadata: dict[str, Any]) -> Iterator[None]:
    """Turn transformers' errors into a `WrongRequest` about the file."""
    try:
        with _quiet():
            yield
    except Exception as error:  # whatever is in the file, transformers lets it through
        msg = (
            f"{file} is a GGUF of the architecture {metadata['general.architecture']}, which transformers "
            f"{__version__} cannot convert ({_reason(error)}): name the model in safetensors, or another GGUF of it"
        )
        raise WrongRequest(msg) from error


@contextmanager
def _saving() -> Iterator[None]:
    """Turn what tokenizers and safetensors raise about a full disk into the OSError that it is."""
    try:
        with _quiet():
            yield
    except OSError:
        raise
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and notes."""
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    converter: Any = modeling_gguf_pytorch_utils  # whose bar no switch of transformers' turns off
    bar = converter.tqdm
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    converter.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        converter.tqdm = bar
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".:")
