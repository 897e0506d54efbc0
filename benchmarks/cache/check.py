"""Reads what was cached, and holds gloss' firings against delphi's and against dense arithmetic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from torch import Tensor, nn
from transformers import AutoModel

from benchmarks import child
from benchmarks.cache.nonzeros import Agreement, Nonzeros, compare
from benchmarks.cache.ours import step
from benchmarks.cache.workload import coder_folder, model_folder
from storage.lake import Lake

COLUMNS = ("sequence", "position", "feature", "activation")
"""Of `activations`, what says which feature fired where."""

AT_ONCE = 256
"""Tokens whose dense activations are held in float64."""


def from_lake(uri: str, site: str, width: int, length: int) -> Nonzeros:
    """gloss' firings at a site."""
    lake = Lake(uri)
    parts = [lake.path(path) for path in lake.files(step(site).folder("activations"))]
    rows = lake.read("activations", parts, COLUMNS)
    columns = {name: rows[name].to_numpy() for name in COLUMNS}
    token = columns["sequence"] * length + columns["position"]
    return Nonzeros.of(token, columns["feature"], columns["activation"], width)


def from_splits(folder: Path, width: int, length: int) -> Nonzeros:
    """delphi's firings at a site: splits are named after their first and last feature and count from the first."""
    pieces = []
    for file in folder.glob("*.safetensors"):
        split = load_file(file)
        row, position, feature = split["locations"].astype(np.int64).T
        pieces.append((row * length + position, feature + int(file.stem.split("_")[0]), split["activations"]))
    token, feature, value = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Nonzeros.of(token, feature, value, width)


def dense(request: Mapping[str, Any]) -> dict[str, Nonzeros]:
    """The firings by brute force: hidden states that the model reports itself, the whole product in float64."""
    device, k = request["device"], request["shape"]["k"]
    model = AutoModel.from_pretrained(model_folder(request), dtype=torch.float32).eval()
    model.final_layer_norm = nn.Identity()  # the last state would be the normed one else
    nn.Module.to(model, device)
    tokens = np.load(Path(request["folder"]) / "tokens.npy")[: request["reference"]]
    ids = torch.from_numpy(tokens.astype(np.int64)).to(device)
    nonzeros = {}
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True, use_cache=False).hidden_states
        for site in request["sites"]:
            weights = {
                n: w.to(device).double()
                for n, w in load_tensors(coder_folder(request, site) / "sae.safetensors").items()
            }
            x = states[int(site.rpartition(".")[2]) + 1].flatten(0, 1).double() - weights["b_dec"]
            blocks = [_strongest(block, weights, k) for block in x.split(AT_ONCE)]
            value, feature = (torch.cat(column).cpu().numpy() for column in zip(*blocks, strict=True))
            token = np.arange(len(x)).repeat(k)
            fires = value > 0
            nonzeros[site] = Nonzeros.of(
                token[fires], feature[fires], value[fires], len(weights["encoder.bias"])
            )
    return nonzeros


def _strongest(x: Tensor, weights: Mapping[str, Tensor], k: int) -> tuple[Tensor, Tensor]:
    pre = x @ weights["encoder.weight"].T + weights["encoder.bias"]
    best = pre.topk(k, dim=1)
    return best.values.flatten(), best.indices.flatten()


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Compare at every site; the agreements with the dense reference, and with the peer where there is one."""
    width, shape = request["width"], request["shape"]
    length, sites = shape["sequence"], request["sites"]
    torch.set_num_threads(request["threads"])
    ours = {site: from_lake(request["lake"], site, width, length) for site in sites}
    expected = dense(request)
    end = request["reference"] * length * width
    nothing = Agreement(0, 0, 0, 0, 0)
    agreements = {"reference": nothing}
    for site in sites:
        few = np.searchsorted(ours[site].key, end)
        first_firings = Nonzeros(*(column[:few] for column in ours[site]))
        agreements["reference"] += compare(first_firings, expected[site], width)
    if request["splits"]:
        agreements["peer"] = nothing
        for site in sites:
            theirs = from_splits(Path(request["splits"]) / site, width, length)
            agreements["peer"] += compare(ours[site], theirs, width)
    return {name: agreement._asdict() for name, agreement in agreements.items()}


if __name__ == "__main__":
    child.serve(answer)
