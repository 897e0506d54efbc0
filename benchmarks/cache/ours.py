"""gloss' own path from tokens to parts of a real lake: the task that a run has for a shard, without Prefect."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks import child
from benchmarks.cache.device import held, settle
from benchmarks.cache.workload import coder_folder, model_folder, words
from benchmarks.meter import Meter
from benchmarks.packed import packed
from storage.lake import Lake
from storage.layout import Range, Step, ranges
from storage.table import Table
from storage.tables import TOKENS
from tasks.activations.config import Coder, Describing
from tasks.activations.corpus import Corpus
from tasks.activations.subject import Subject
from tasks.cache import CacheWork, cache_shard
from tasks.coders.sparsify import Sparsify


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


def work(lake: Lake, request: Mapping[str, Any]) -> CacheWork:
    """What the flow hands to its tasks."""
    folder, shape = Path(request["folder"]), request["shape"]
    coders = [
        Coder(site=site, source=Sparsify(path=str(coder_folder(request, site).parent)), name=site)
        for site in request["sites"]
    ]
    steps = [step(coder.name) for coder in coders]
    return CacheWork(
        lake=lake,
        subject=Subject(model=str(model_folder(request)), device=request["device"]),
        corpus=Corpus(
            path=str(folder / "tokens.npy"),
            tokens=request["sequences"] * shape["sequence"],
            sequence=shape["sequence"],
            keep_bos=True,
        ),
        shard=request["shard"],
        tokens=Step("tokens", "corpus", ("tokens",), {}, 1),
        describing=Describing(),
        batch=shape["batch"],
        coders=tuple(
            (coder, fired, Step("features", coder.name, ("features",), {}, 1, (fired,)))
            for coder, fired in zip(coders, steps, strict=True)
        ),
    )


def pack(asked: CacheWork, lake: Lake, shards: Sequence[Range], vocabulary: int) -> None:
    """Write the parts of `tokens` that packing would have left, from the ids in the file of the work's corpus."""
    ids, texts = np.load(asked.corpus.path, mmap_mode="r"), words(vocabulary)
    for shard in shards:
        rows = packed(shard, ids[slice(*shard)], texts, 0)
        lake.write(TOKENS, asked.tokens.part("tokens", shard), rows)


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Cache the tokens of the request's folder into the lake `out`, which must not be there: what is, is not made."""
    device, vocabulary = request["device"], request["shape"]["vocabulary"]
    torch.set_num_threads(request["threads"])
    with tempfile.TemporaryDirectory(dir=request["folder"]) as elsewhere:
        first, warm = work(Lake(elsewhere), request), Range(0, request["warm"])
        pack(first, first.lake, [warm], vocabulary)
        cache_shard.fn(first, warm)  # loads model and coders
    lake, shards = TimedLake(request["out"]), ranges(request["sequences"], request["shard"])
    asked = work(lake, request)
    pack(asked, Lake(lake.uri), shards, vocabulary)
    settle(device)
    with Meter() as meter:
        # Two at a time, as a run has them: one that computes and one that is written.
        with ThreadPoolExecutor(2) as pool:
            firings = sum(pool.map(partial(cache_shard.fn, asked), shards))
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
