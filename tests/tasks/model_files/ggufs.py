"""GGUF files of tiny random models, written by llama.cpp's own library."""

import json
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.tasks.activations.models import ROTARY, words

TEMPLATE = "{% for message in messages %}<bos>{{ message['content'] }}<eos>{% endfor %}"
WIDE = ROTARY | {"hidden_size": 32, "intermediate_size": 64, "tie_word_embeddings": False}
"""Rows of 32: the blocks of quantised types."""


def tiny(kind: str) -> PreTrainedModel:
    """A random model of two layers."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**WIDE, "vocab_size": 300})
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(requires_grad=False)


def write_gguf(
    file: Path,
    kind: str = "qwen2",
    stored: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    split: str = "gpt-2",
    tokenizer: PreTrainedTokenizerFast | None = None,
    left_out: str = "",
    **claims: Any,
) -> PreTrainedModel:
    """Write a model and its tokenizer, and return the model.

    `split` is how the tokenizer splits text, `claims` what the file says falsely: `name` of the architecture,
    `tokenizer_model`, `feed_forward`.
    """
    model = tiny(kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(file, claims.get("name", kind))
    _write_config(writer, model.config, claims.get("feed_forward", model.config.intermediate_size))
    _write_tokenizer(writer, tokenizer or words(), split, claims.get("tokenizer_model", "gpt2"))
    arch = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[kind]
    names = gguf.get_tensor_name_map(arch, model.config.num_hidden_layers)
    for path, weight in model.state_dict().items():
        tensor = names.get_name(path, try_suffixes=(".weight", ".bias"))
        assert tensor is not None, path
        if tensor == left_out:
            continue
        rows = weight.numpy()
        if kind == "llama" and tensor.rpartition(".")[0].endswith(("attn_q", "attn_k")):
            rows = _interleaved(weight, model.config, tensor).numpy()
        if weight.ndim == 1:
            writer.add_tensor(tensor, rows)
        else:
            writer.add_tensor(tensor, gguf.quantize(rows, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _write_config(writer: gguf.GGUFWriter, config: Any, feed_forward: int) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def _write_tokenizer(
    writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast, split: str, kind: str
) -> None:
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {token["content"] for token in inner["added_tokens"]}
    vocabulary = sorted(inner["model"]["vocab"], key=inner["model"]["vocab"].__getitem__)
    types = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in vocabulary]
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(split)
    writer.add_token_list(vocabulary)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in inner["model"]["merges"]])
    writer.add_bos_token_id(vocabulary.index("<bos>"))
    writer.add_eos_token_id(vocabulary.index("<eos>"))
    writer.add_chat_template(TEMPLATE)


def _interleaved(weight: torch.Tensor, config: Any, tensor: str) -> torch.Tensor:
    """The rows of a query or key projection in llama.cpp's order, which pairs neighbouring dimensions."""
    heads = config.num_attention_heads if "attn_q" in tensor else config.num_key_value_heads
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape).contiguous()
