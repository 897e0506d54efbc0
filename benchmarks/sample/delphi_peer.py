"""delphi's path from its splits to contexts, in the peers' environment: `LatentDataset` with its defaults."""

import importlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from benchmarks import child
from benchmarks.meter import Meter


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Draw the contexts of every feature of the request's splits; says the strongest windows of each."""
    loader = importlib.import_module("delphi.latents.loader")
    config = importlib.import_module("delphi.config")
    folder, most = Path(request["splits"]), request["strongest"]
    torch.set_num_threads(request["threads"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    made: dict[int, dict[str, object]] = {}
    contexts = 0
    with Meter() as meter:
        dataset = loader.LatentDataset(
            folder,
            config.SamplerConfig(),
            config.ConstructorConfig(),
            tokenizer=tokenizer,
            modules=[request["hookpoint"]],
        )
        for record in dataset:
            contexts += len(record.train) + len(record.test) + len(record.not_active)
            strongest = [
                (example.max_activation, example.tokens.tolist()) for example in record.examples[:most]
            ]
            made[record.latent.latent_index] = {"windows": len(record.examples), "strongest": strongest}
    return {
        **meter.used(),
        "sampled": len(made),
        "contexts": contexts,
        "made": made,
        "versions": {"eai-delphi": version("eai-delphi"), "delphi's transformers": version("transformers")},
    }


if __name__ == "__main__":
    child.serve(answer)
