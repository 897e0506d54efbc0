"""Makes what all systems are given: a random GPT-NeoX, a random sparsify coder per site, random tokens.

Everything is saved in the formats that gloss and delphi both read; the same request gives the same files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedTokenizerFast

from benchmarks import child


def model_folder(request: Mapping[str, Any]) -> Path:
    """Where the subject model of a request lies."""
    return Path(request.get("model") or Path(request["folder"]) / "model")


def coder_folder(request: Mapping[str, Any], site: str) -> Path:
    """Where the coder of a site lies."""
    return Path(request.get("coders") or Path(request["folder"]) / "coders") / site


def words(vocabulary: int) -> list[str]:
    """The text of each token."""
    return [f"w{i}" for i in range(vocabulary)]


def model(folder: Path, shape: Mapping[str, int]) -> None:
    """Save the subject model with a tokenizer that has one word per id."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["d"],
        intermediate_size=4 * shape["d"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        max_position_embeddings=shape["sequence"],
    )
    AutoModelForCausalLM.from_config(config).eval().save_pretrained(folder)
    ids = {word: i for i, word in enumerate(words(shape["vocabulary"]))}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(ids))).save_pretrained(folder)


def coder(folder: Path, width: int, d: int, k: int, seed: int) -> None:
    """Save one coder: rows as `torch.nn.Linear` draws them, biases that are not zero."""
    make = torch.Generator().manual_seed(seed)
    encoder = (torch.rand(width, d, generator=make) * 2 - 1) * d**-0.5
    tensors = {
        "encoder.weight": encoder,
        "encoder.bias": 0.001 * torch.randn(width, generator=make),
        "W_dec": encoder / encoder.norm(dim=1, keepdim=True),
        "b_dec": 0.001 * torch.randn(d, generator=make),
    }
    folder.mkdir(parents=True)
    save_file(tensors, folder / "sae.safetensors")
    config = {"d_in": d, "k": k, "num_latents": width, "activation": "topk", "expansion_factor": 32}
    config |= {"normalize_decoder": True, "multi_topk": False, "skip_connection": False, "transcode": False}
    (folder / "cfg.json").write_text(json.dumps(config), encoding="utf-8")


def tokens(file: Path, sequences: int, length: int, vocabulary: int) -> None:
    """Save random ids, [sequences, length] uint16; a longer corpus begins with the shorter one."""
    np.save(file, np.random.default_rng(7).integers(0, vocabulary, (sequences, length), dtype=np.uint16))


def answer(request: dict[str, Any]) -> dict[str, object]:
    """Make model, coders and tokens in the request's folder."""
    folder, shape = Path(request["folder"]), request["shape"]
    model(folder / "model", shape)
    for seed, site in enumerate(request["sites"]):
        coder(folder / "coders" / site, request["width"], shape["d"], shape["k"], seed)
    tokens(folder / "tokens.npy", request["sequences"], shape["sequence"], shape["vocabulary"])
    return {}


if __name__ == "__main__":
    child.serve(answer)
