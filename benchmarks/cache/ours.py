"""gloss' own path from tokens to parts of a real lake: what `tasks.cache` does with a shard, without Prefect."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file

from benchmarks import child
from benchmarks.cache.device import held, settle
from benchmarks.meter import Meter
from storage.lake import Lake
from storage.layout import Range, Step, ranges
from storage.table import Table
from storage.tables import ACTIVATIONS
from tasks.activations import collect, model
from tasks.activations.collect import Hooked
from tasks.activations.memory import give_back
from tasks.activations.model import LoadedSubject
from tasks.activations.resident import DEVICE
from tasks.activations.sites import Site
from tasks.coders.dictionary import SparseCoder
from tasks.coders.firing import TopK


class TimedLake(Lake):
    """A lake that knows how long it wrote and how much."""

    def __init__(self, uri: str) -> None:
        """Nothing written yet."""
        super().__init__(uri)
        self.writes: list[tuple[float, int]] = []
        """Seconds and bytes of each part."""

    def write(self, table: Table, path: str, rows: pa.Table) -> int:
        """Write as any lake does."""
        began = time.perf_counter()
        size = super().write(table, path, rows)
        self.writes.append((time.perf_counter() - began, size))
        return size


def step(site: str) -> Step:
    """The step whose parts hold a site's firings."""
    return Step("activations", site, ("activations",), {}, 1)


def cache(
    subject: LoadedSubject, coders: dict[str, Hooked], tokens: Path, shard: Range, lake: Lake, batch: int
) -> int:
    """Run one shard of the sequences in a file and write its parts; returns the firings.

    The one place that follows what `tasks.cache.cache_shard` does.
    """
    some = np.load(tokens, mmap_mode="r")[shard.first : shard.end].astype(np.int64)
    with DEVICE:
        found = collect.firings(subject, coders, some, shard.first, batch, keep_bos=True)
    total = 0
    for name in coders:
        columns = found.pop(name)._asdict()
        total += len(columns["feature"])
        rows = pa.table({"coder": pa.repeat(name, len(columns["feature"])), **columns})
        lake.write(ACTIVATIONS, step(name).part("activations", shard), rows)
        del columns, rows
    give_back()
    return total


def coder(folder: Path, k: int, device: str) -> SparseCoder:
    """The coder of a workload, its tensors as they lie in the file."""
    weights = load_file(folder / "sae.safetensors")
    return SparseCoder(
        encoder=weights["encoder.weight"],
        encoder_bias=weights["encoder.bias"],
        centre=weights["b_dec"],
        decoder=weights["W_dec"],
        decoder_bias=weights["b_dec"],
        activation=TopK(k),
    ).to(torch.device(device))


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Cache the tokens of the request's folder into the lake `out`."""
    folder, device, shape = Path(request["folder"]), request["device"], request["shape"]
    torch.set_num_threads(request["threads"])
    name = str(folder / "model")
    subject = model.load(name, None, "float32", device, model.tokenizer(name, None))
    coders = {
        site: Hooked(Site.parse(site), coder(folder / "coders" / site, shape["k"], device))
        for site in request["sites"]
    }
    tokens, batch, warm = folder / "tokens.npy", shape["batch"], Range(0, request["warm"])
    cache(subject, coders, tokens, warm, Lake(f"{request['out']}-warm"), batch)
    lake, shards = TimedLake(request["out"]), ranges(request["sequences"], request["shard"])
    settle(device)
    with Meter() as meter:
        # Two at a time, as a run has them: one that computes and one that is written.
        with ThreadPoolExecutor(2) as pool:
            firings = sum(pool.map(lambda shard: cache(subject, coders, tokens, shard, lake, batch), shards))
        settle(device)
    return {
        **meter.used(),
        **held(device),
        "firings": firings,
        "write_s": sum(seconds for seconds, _ in lake.writes),
        "written_bytes": sum(size for _, size in lake.writes),
    }


if __name__ == "__main__":
    child.serve(answer)
