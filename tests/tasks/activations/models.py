"""Tiny real models and a tiny byte-level tokenizer, random but the same in every run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tasks.coders.activation_functions import TopK
from tasks.coders.sparse_coder import SparseCoder

D = 16
LAYERS = 4
TEXTS = (
    "The cat sat on the mat, and the dog barked at the cat.",
    "Ein Bär äße Öl; naïve café 東京 — 🙂🙂 and\n\nso on.",
    "def f(x):\n    return x + 1  # one more\n",
)


def words(
    texts: Sequence[str] = TEXTS, bos: str | None = "<bos>", eos: str | None = "<eos>"
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that merges little, so that characters split over tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = [name for name in (bos, eos) if name]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=bos, eos_token=eos)


CONFIGS = {
    "llama": LlamaConfig(
        vocab_size=320, hidden_size=D, intermediate_size=24, num_hidden_layers=LAYERS,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
    ),
    "gpt2": GPT2Config(
        vocab_size=320, n_embd=D, n_layer=LAYERS, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=1
    ),
    "neox": GPTNeoXConfig(
        vocab_size=320, hidden_size=D, intermediate_size=24, num_hidden_layers=LAYERS,
        num_attention_heads=2, max_position_embeddings=64,
    ),
}  # fmt: skip


def model(kind: str) -> PreTrainedModel:
    """A random model, its norms' gains random too."""
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(CONFIGS[kind]).eval()
    for name, weight in made.named_parameters():
        if "norm" in name or "ln_" in name:
            torch.nn.init.uniform_(weight, 0.5, 2)
    made.requires_grad_(requires_grad=False)
    return made


EPS = 1e-3
"""Larger than any real one, so that a norm with another would be noticed."""

COMMON = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
ROTARY = COMMON | {
    "hidden_size": D, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": EPS, "layer_norm_eps": EPS,
}  # fmt: skip
WIDE_HEADS = ROTARY | {"head_dim": 12}
NEOX = {name: value for name, value in ROTARY.items() if name not in {"num_key_value_heads", "rms_norm_eps"}}
VISION = {
    "hidden_size": D, "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip

ARCHITECTURES: dict[str, Mapping[str, Any]] = {
    "gemma": WIDE_HEADS,
    "gemma2": WIDE_HEADS | {"final_logit_softcapping": None},
    "gemma3": {"text_config": WIDE_HEADS, "vision_config": VISION, "mm_tokens_per_image": 4},
    "gemma3_text": WIDE_HEADS,
    "gpt2": COMMON | {"n_embd": D, "n_layer": 2, "n_head": 2, "n_positions": 64, "layer_norm_epsilon": EPS},
    "gpt_neox": NEOX,
    "gpt_neox-sequential": NEOX | {"use_parallel_residual": False},
    "llama": ROTARY,
    "mistral": WIDE_HEADS,
    "olmo": ROTARY,
    "olmo2": ROTARY,
    "olmo3": ROTARY,
    "phi": NEOX,
    "phi3": ROTARY,
    "qwen2": ROTARY,
    "qwen3": WIDE_HEADS,
}
"""Options of a tiny model of each type that gloss translates names for; a variant's follows a dash."""


def architecture(kind: str) -> PreTrainedModel:
    """A random model of two layers, every bias and every norm's gain random too, whose vectors are of size one."""
    torch.manual_seed(0)
    config: PreTrainedConfig = AutoConfig.for_model(kind.partition("-")[0], **ARCHITECTURES[kind])
    made = AutoModelForCausalLM.from_config(config).eval()
    for name, weight in made.named_parameters():
        if weight.ndim == 1:
            torch.nn.init.uniform_(weight, 0.5, 2)
        elif "embed" not in name:
            torch.nn.init.normal_(weight, std=D**-0.5)
    made.requires_grad_(requires_grad=False)
    return made


def coder(width: int = 48, d: int = D, k: int = 6) -> SparseCoder:
    """A random topk coder."""
    make = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=make)

    return SparseCoder(random(width, d), random(width), random(d), random(width, d), random(d), TopK(k))


def tokens(sequences: int, length: int, bos: int | None = 0) -> np.ndarray:
    """Random token ids, each sequence with the beginning-of-sequence token first, if there is one."""
    ids = np.random.default_rng(5).integers(2, 300, (sequences, length), dtype=np.int32)
    if bos is not None:
        ids[:, 0] = bos
    return ids
