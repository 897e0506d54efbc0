"""What caching takes: firings, bytes and time, measured on the corpus' first sequences where the lake has none."""

from collections.abc import Mapping
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from flows.plan import Plan
from flows.preflight import recorded_site_statistics
from storage.errors import WrongRequest
from storage.layout import addresses
from storage.part import encode
from storage.tables import ACTIVATIONS

_TIMED = 3
"""How often the first sequences pass through the model; the fastest time counts."""


class Caching(NamedTuple):
    """What one coder's firings take."""

    width: int | None
    """Its features; null where nobody knows."""
    firings: float | None
    bytes: float | None
    said: str
    """Where this is from, as a clause."""


class Caches(NamedTuple):
    """What caching takes in all."""

    coders: Mapping[str, Caching]
    seconds: float | None
    """Of forward passes and coders on this machine's device, 0 where nothing is left; null where nobody knows."""


def caches(plan: Plan) -> Caches:
    """What caching every coder takes."""
    if not plan.unfinished("cache"):
        return Caches({coder.coder.name: _made(plan, coder.coder.name) for coder in plan.coders}, 0.0)
    try:
        return _measured(plan)
    except WrongRequest as error:
        # The questions can be counted all the same, wherever the model is to run.
        unknown = Caching(None, None, None, f"not measured: {error}")
        return Caches({coder.coder.name: unknown for coder in plan.coders}, None)


def _made(plan: Plan, name: str) -> Caching:
    lake = plan.lake
    steps = next(coder for coder in plan.coders if coder.coder.name == name)
    size = sum(lake.files(steps.activations.folder("activations")).values())
    return Caching(
        lake.rows(steps.features, "features"),
        lake.rows(steps.activations, "activations"),
        size,
        "as the lake has them",
    )


def _measured(plan: Plan) -> Caches:
    """By the corpus' first sequences, on the device that the config names."""
    # Local, for they load torch.
    from tasks.activations import collect, model_cache  # noqa: PLC0415
    from tasks.activations.pack import packed_rows  # noqa: PLC0415

    config = plan.config
    model_cache.evict_other_runs(
        addresses(coder.activations for coder in plan.coders), recorded_site_statistics(plan)
    )
    model_cache.check_coders(config.subject, config.corpus, config.coders)
    hooked = {coder.name: model_cache.loaded_coder(config.subject, coder) for coder in config.coders}
    corpus, rows = config.corpus, min(config.corpus.rows, model_cache.CHECKED_SEQUENCES)
    packed = packed_rows(
        corpus.documents(), config.subject.tokenizer(), corpus.sequence, rows, corpus.packing
    )
    tokens = np.array([row["tokens"] for row in packed])
    model = model_cache.loaded_subject(config.subject)
    found: dict[str, collect.FiringColumns] = {}
    took = []
    for _ in range(_TIMED):
        started = perf_counter()
        found = collect.firings(model, hooked, tokens, 0, len(tokens), keep_bos=corpus.keep_bos)
        took.append(perf_counter() - started)
    times = corpus.rows / len(tokens)
    said = f"by the first {len(tokens)} sequences"
    coders = {}
    for name, columns in found.items():
        firings = len(columns.feature)
        table = pa.table({"coder": pa.repeat(name, firings), **columns._asdict()})
        size = len(encode(ACTIVATIONS, table))
        coders[name] = Caching(hooked[name].coder.width, firings * times, size * times, said)
    model_cache.evict_all()
    return Caches(coders, min(took) * times)
