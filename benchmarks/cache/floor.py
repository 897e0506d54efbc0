"""The least that caching can cost: the forward pass to the last hooked site, and the encoders' matrix products.

Nothing is selected and nothing kept. Written without gloss, so that gloss cannot lower what it is held against.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from benchmarks import child
from benchmarks.cache.device import held, settle
from benchmarks.cache.workload import coder_folder, model_folder
from benchmarks.meter import Meter

BLOCK = {"cpu": 256, "cuda": 4096}
"""Tokens in a product. On a CPU one buffer that stays in the caches is a third cheaper than fresh memory."""


@contextmanager
def hooked(model: PreTrainedModel, sites: list[str]) -> Iterator[dict[str, Tensor]]:
    """What the sites' modules put out in the last forward pass, [batch, length, d] each."""
    outputs: dict[str, Tensor] = {}

    def keep(site: str, _: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs[site] = output[0] if isinstance(output, tuple) else output

    handles = [model.get_submodule(site).register_forward_hook(partial(keep, site)) for site in sites]
    yield outputs
    for handle in handles:
        handle.remove()


class Encoder:
    """An encoder's product with its bias, and nothing behind it."""

    def __init__(self, folder: Path, device: str, *, fresh: bool) -> None:
        weights = {
            name: tensor.to(device).float() for name, tensor in load_file(folder / "sae.safetensors").items()
        }
        self.rows = weights["encoder.weight"].T
        self.centre = weights["b_dec"]
        self.bias = weights["encoder.bias"]
        self.block = BLOCK[device]
        self.buffer = None if fresh else torch.empty(self.block, self.rows.shape[1], device=device)

    def multiply(self, x: Tensor) -> None:
        """Pre-activations of vectors [tokens, d], thrown away; in blocks, or all at once in fresh memory."""
        if self.buffer is None:
            torch.addmm(self.bias, x - self.centre, self.rows)
            return
        for first in range(0, len(x), self.block):
            block = x[first : first + self.block] - self.centre
            torch.addmm(self.bias, block, self.rows, out=self.buffer[: len(block)])


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Run the tokens of the request's folder; with `fresh` each product is one, as it is written most simply."""
    folder, device, batch = Path(request["folder"]), request["device"], request["shape"]["batch"]
    torch.set_num_threads(request["threads"])
    model = AutoModel.from_pretrained(model_folder(request), dtype=torch.float32).eval()
    # No layer after the last site runs.
    model.layers = model.layers[: 1 + max(int(site.rpartition(".")[2]) for site in request["sites"])]
    nn.Module.to(model, device)
    encoders = {
        site: Encoder(coder_folder(request, site), device, fresh=request["fresh"])
        for site in request["sites"]
    }
    ids = torch.from_numpy(np.load(folder / "tokens.npy")[: request["sequences"]].astype(np.int64))

    def run(tokens: Tensor) -> None:
        model(tokens.to(device), use_cache=False)
        for site, encoder in encoders.items():
            encoder.multiply(outputs[site].flatten(0, 1))

    with torch.inference_mode(), hooked(model, request["sites"]) as outputs:
        run(ids[: request["warm"]])
        settle(device)
        with Meter() as meter:
            for first in range(0, len(ids), batch):
                run(ids[first : first + batch])
            settle(device)
    return meter.used() | held(device)


if __name__ == "__main__":
    child.serve(answer)
