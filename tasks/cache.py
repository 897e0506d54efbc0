"""Shards of the corpus -> tokens and activations, blocks of features -> features. Pure code does the work."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE
from transformers.utils.logging import disable_progress_bar

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import ACTIVATIONS, FEATURES, TOKENS
from tasks.activations import collect, gate
from tasks.activations.coder import Coder
from tasks.activations.collect import Hooked
from tasks.activations.corpus import Corpus
from tasks.activations.directions import directions, reading
from tasks.activations.model import LoadedSubject
from tasks.activations.pack import pack
from tasks.activations.sites import Site
from tasks.activations.subject import Subject
from tasks.retries import unless_refused

TRIED = 16
"""Sequences on which coders are tried out before anything is written."""


@dataclass(frozen=True)
class CacheWork:
    """What caching needs, the same for each shard."""

    lake: Lake
    subject: Subject
    corpus: Corpus
    shard: int
    """Sequences per shard."""
    tokens: Step
    coders: tuple[tuple[Coder, Step, Step], ...]
    """Each coder with its steps: activations, features."""


@lru_cache(maxsize=1)
def _loaded(subject: Subject) -> LoadedSubject:
    # Loading takes far longer than a shard, so a process keeps the last model until `forget`.
    disable_progress_bar()
    return subject.load()


@lru_cache(maxsize=1)
def _hooked(subject: Subject, coders: tuple[Coder, ...]) -> dict[str, Hooked]:
    device = str(_loaded(subject).device)
    return {
        coder.name: Hooked(Site.parse(coder.site), coder.source.load(coder.site, device)) for coder in coders
    }


def forget() -> None:
    """Free the model and the coders."""
    try_out.cache_clear()
    _hooked.cache_clear()
    _loaded.cache_clear()


@lru_cache(maxsize=1)
def try_out(subject: Subject, corpus: Corpus, coders: tuple[Coder, ...]) -> dict[str, gate.Fit]:
    """Load all, and measure each coder on the corpus' first sequences; writes nothing.

    Raises `WrongRequest` with the first thing that is wrong with corpus, model, site or coder.
    """
    rows = islice(pack(corpus.documents(), subject.tokenizer(), corpus.sequence, corpus.rows), TRIED)
    tokens = np.array([row["tokens"] for row in rows])
    loaded = _loaded(subject)
    for coder in coders:
        loaded.resolve(Site.parse(coder.site))
    return gate.check(loaded, _hooked(subject, coders), tokens, keep_bos=corpus.keep_bos)


def width(work: CacheWork, coder: str) -> int:
    """Features of a coder."""
    return _hooked(work.subject, tuple(coder for coder, _, _ in work.coders))[coder].coder.width


@task(name="pack", retries=1, retry_condition_fn=unless_refused, cache_policy=NO_CACHE)
def write_tokens(work: CacheWork) -> int:
    """Pack the corpus, shard by shard, and commit the tokens; returns the sequences."""
    corpus, step = work.corpus, work.tokens
    done = work.lake.done(step)
    rows = pack(corpus.documents(), work.subject.tokenizer(), corpus.sequence, corpus.rows)
    shards: list[Range] = []
    while shard := list(islice(rows, work.shard)):
        first = shards[-1].end if shards else 0
        part = Range(first, first + len(shard))
        if part not in done:
            work.lake.write(TOKENS, step.part("tokens", part), TOKENS.rows(shard))
        shards.append(part)
    work.lake.commit(step, shards)
    return shards[-1].end


@task(
    name="cache",
    task_run_name="cache {shard.first}-{shard.end}",
    retries=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def cache_shard(work: CacheWork, shard: Range) -> int:
    """Run one shard through the model and the coders that lack it; returns the firings."""
    rows = work.lake.read("tokens", [work.lake.path(work.tokens.part("tokens", shard))])
    tokens = rows["tokens"].combine_chunks().flatten().to_numpy().reshape(len(rows), work.corpus.sequence)
    every = _hooked(work.subject, tuple(coder for coder, _, _ in work.coders))
    lacking = {coder.name: step for coder, step, _ in work.coders if shard not in work.lake.done(step)}
    found = collect.firings(
        _loaded(work.subject),
        {name: every[name] for name in lacking},
        tokens,
        shard.first,
        keep_bos=work.corpus.keep_bos,
    )
    for name, step in lacking.items():
        columns = found[name]._asdict()
        table = pa.table({"coder": pa.repeat(name, len(columns["feature"])), **columns})
        work.lake.write(ACTIVATIONS, step.part("activations", shard), table)
    return sum(len(columns.feature) for columns in found.values())


@task(
    name="features",
    task_run_name="features {name} {part.first}-{part.end}",
    retries=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def describe_features(work: CacheWork, name: str, part: Range) -> int:
    """Statistics of a block of features by SQL, their logits and neighbours by their decoder rows."""
    lake = work.lake
    activations, features = next((a, f) for coder, a, f in work.coders if coder.name == name)
    coders = tuple(coder for coder, _, _ in work.coders)
    sequences = lake.rows(work.tokens, "tokens")
    with lake.connect(threads=1) as connection:
        counted = query.rows(
            connection,
            "features",
            coder=name,
            activations=lake.parts(activations, "activations"),
            tokens=sequences * (work.corpus.sequence - (not work.corpus.keep_bos)),
            first=part.first,
            end=part.end,
        )
    block = range(part.first, part.end)
    found = directions(_hooked(work.subject, coders)[name].coder, block, reading(_loaded(work.subject)))
    for column in ("top_logits", "bottom_logits", "neighbours"):
        values = [getattr(row, column) for row in found]
        counted = counted.append_column(column, pa.array(values, FEATURES.schema.field(column).type))
    lake.write(FEATURES, features.part("features", part), counted)
    return counted.num_rows
