"""Makes the tokens of the real case: a corpus through the model's own tokenizer, packed as a run packs it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig

from benchmarks import child
from benchmarks.cache.workload import coder_folder, model_folder
from tasks.activations.corpus import Corpus
from tasks.activations.pack import packed_rows
from tasks.activations.subject import Subject


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Save the tokens [sequences, length] of the request; returns what its model and coder are like."""
    folder, sequences, length = (
        Path(request["folder"]),
        request["sequences"],
        request["shape"]["sequence"],
    )
    corpus = Corpus(path=request["corpus"], tokens=sequences * length, sequence=length)
    tokenizer = Subject(model=str(model_folder(request))).tokenizer()
    rows = packed_rows(corpus.documents(), tokenizer, length, sequences, corpus.packing)
    folder.mkdir(parents=True)
    np.save(folder / "tokens.npy", np.array([row["tokens"] for row in rows]))
    coder = json.loads((coder_folder(request, request["sites"][0]) / "cfg.json").read_text(encoding="utf-8"))
    config = AutoConfig.from_pretrained(model_folder(request))
    shape = {
        "d": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "vocabulary": config.vocab_size,
        "k": coder["k"],
    }
    return {
        "shape": request["shape"] | shape,
        "width": coder["num_latents"],
        "architecture": config.model_type,
    }


if __name__ == "__main__":
    child.serve(answer)
