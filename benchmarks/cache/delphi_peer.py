"""delphi's path from tokens to its splits, in the peers' environment: `LatentCache.run`, then `save_splits`.

Coders are hooked by delphi's own loader. Its `compile` option is left off: it compiles a coder's `forward`, and
caching calls `encode`.
"""

import importlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from benchmarks import child
from benchmarks.meter import Meter

SPLITS = 5
"""Files per site, delphi's default."""


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Cache the tokens of the request's folder into the folder `out`."""
    caching = importlib.import_module("delphi.latents.cache")
    sparsify = importlib.import_module("delphi.sparse_coders.load_sparsify")
    folder, batch, length = Path(request["folder"]), request["shape"]["batch"], request["shape"]["sequence"]
    torch.set_num_threads(request["threads"])
    model = AutoModel.from_pretrained(folder / "model").eval()
    encoders, transcode = sparsify.load_sparsify_hooks(model, str(folder / "coders"), request["sites"])
    tokens = torch.from_numpy(np.load(folder / "tokens.npy")[: request["sequences"]].astype(np.int64))
    warm = request["warm"]
    caching.LatentCache(model, encoders, warm, transcode).run(warm * length, tokens[:warm])
    with Meter() as meter:
        cache = caching.LatentCache(model, encoders, batch, transcode)
        cache.run(tokens.numel(), tokens)
        cache.save_splits(SPLITS, Path(request["out"]))
    splits = list(Path(request["out"]).rglob("*.safetensors"))
    return {
        **meter.used(),
        "firings": sum(len(activations) for activations in cache.cache.latent_activations.values()),
        "written_bytes": sum(file.stat().st_size for file in splits),
        "versions": {
            "eai-delphi": version("eai-delphi"),
            "eai-sparsify": version("eai-sparsify"),
            "delphi's transformers": version("transformers"),
        },
    }


if __name__ == "__main__":
    child.serve(answer)
