"""Firings, bytes and time of caching: the lake's own, or measured on the corpus' first sequences."""

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
"""How often the first sequences are timed; the fastest time counts."""


class CoderCost(NamedTuple):
    """Firings of one coder."""

    width: int | None
    """Number of its features; null where unknown."""
    firings: float | None
    bytes: float | None
    source: str
    """Where the numbers come from, as a clause."""


class CacheCost(NamedTuple):
    """Cost of caching all coders."""

    coders: Mapping[str, CoderCost]
    seconds: float | None
    """Of forward passes and coders on this machine's device, 0 where nothing is left; null where unknown."""


def estimate_cache(plan: Plan) -> CacheCost:
    """Estimate the caching of every coder."""
    if not plan.unfinished("cache"):
        return CacheCost({coder.coder.name: _made(plan, coder.coder.name) for coder in plan.coders}, 0.0)
    try:
        return _measured(plan)
    except WrongRequest as error:
        # Requests can be counted without the model.
        unknown = CoderCost(None, None, None, f"not measured: {error}")
        return CacheCost({coder.coder.name: unknown for coder in plan.coders}, None)


def _made(plan: Plan, name: str) -> CoderCost:
    lake = plan.lake
    steps = next(coder for coder in plan.coders if coder.coder.name == name)
    size = sum(lake.files(steps.activations.folder("activations")).values())
    return CoderCost(
        lake.rows(steps.features, "features"),
        lake.rows(steps.activations, "activations"),
        size,
        "as the lake has them",
    )


def _measured(plan: Plan) -> CacheCost:
    """Measure on the corpus' first sequences, on the config's device."""
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
    firings_by_coder: dict[str, collect.FiringColumns] = {}
    took = []
    for _ in range(_TIMED):
        started = perf_counter()
        firings_by_coder = collect.firings(model, hooked, tokens, 0, len(tokens), keep_bos=corpus.keep_bos)
        took.append(perf_counter() - started)
    times = corpus.rows / len(tokens)
    source = f"by the first {len(tokens)} sequences"
    coders = {}
    for name, columns in firings_by_coder.items():
        firings = len(columns.feature)
        table = pa.table({"coder": pa.repeat(name, firings), **columns._asdict()})
        size = len(encode(ACTIVATIONS, table))
        coders[name] = CoderCost(hooked[name].coder.width, firings * times, size * times, source)
    model_cache.evict_all()
    return CacheCost(coders, min(took) * times)
