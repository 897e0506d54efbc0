"""Shards of the corpus -> tokens and activations, blocks of features -> features. Pure code does the work."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import ACTIVATIONS, FEATURES, TOKENS
from tasks.activations import collect
from tasks.activations.coder import Coder
from tasks.activations.collect import Hooked
from tasks.activations.corpus import Corpus
from tasks.activations.directions import directions, reading
from tasks.activations.pack import pack
from tasks.activations.resident import hooked, loaded
from tasks.activations.subject import Subject
from tasks.retries import unless_refused


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

    @property
    def hooked(self) -> dict[str, Hooked]:
        """The coders in memory, by name."""
        return hooked(self.subject, tuple(coder for coder, _, _ in self.coders))


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
def cache_shard(work: CacheWork, shard: Range, lacking: Sequence[str]) -> int:
    """Run one shard through the model and the coders that lack it; returns the firings."""
    rows = work.lake.read("tokens", [work.lake.path(work.tokens.part("tokens", shard))])
    tokens = rows["tokens"].combine_chunks().flatten().to_numpy().reshape(len(rows), work.corpus.sequence)
    found = collect.firings(
        loaded(work.subject),
        {name: work.hooked[name] for name in lacking},
        tokens,
        shard.first,
        keep_bos=work.corpus.keep_bos,
    )
    for coder, step, _ in work.coders:
        if coder.name in lacking:
            columns = found[coder.name]._asdict()
            table = pa.table({"coder": pa.repeat(coder.name, len(columns["feature"])), **columns})
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
    found = directions(work.hooked[name].coder, block, reading(loaded(work.subject)))
    for column in ("top_logits", "bottom_logits", "neighbours"):
        values = [getattr(row, column) for row in found]
        counted = counted.append_column(column, pa.array(values, FEATURES.schema.field(column).type))
    lake.write(FEATURES, features.part("features", part), counted)
    return counted.num_rows
