"""Prefect tasks of the cache: shards of the corpus -> tokens and activations, blocks of features -> features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.errors import RunFailed
from storage.feature_statistics import feature_statistics, tokens_that_can_fire
from storage.lake import Lake
from storage.layout import Range, Step, addresses
from storage.tables import ACTIVATIONS, FEATURES, TOKENS
from tasks.activations import collect, model_cache
from tasks.activations.config import Coder, Describing
from tasks.activations.corpus import Corpus
from tasks.activations.directions import feature_directions
from tasks.activations.model_cache import release_free_memory
from tasks.activations.pack import packed_shards
from tasks.activations.subject import Subject
from tasks.coders.base import SiteStatistics
from tasks.retries import unless_refused


@dataclass(frozen=True)
class CacheWork:
    """Inputs of caching, the same for each shard."""

    lake: Lake
    subject: Subject
    corpus: Corpus
    shard: int
    """Sequences per shard."""
    tokens: Step
    describing: Describing
    batch: int | None
    """Sequences that pass through the model at once; None takes what fits."""
    coders: tuple[tuple[Coder, Step, Step], ...]
    """Each coder with its steps: activations, features."""
    statistics: Mapping[Coder, SiteStatistics] = field(default_factory=dict)
    """Of the sites of coders that are built from them: the same for each shard, in any process."""

    @property
    def mark(self) -> tuple[str, ...]:
        """Addresses of model and coders by content: a process with others under the same names loads them anew."""
        return addresses(activations for _, activations, _ in self.coders)

    @property
    def all_coders(self) -> tuple[Coder, ...]:
        """The coders without their steps."""
        return tuple(coder for coder, _, _ in self.coders)


@task(name="pack", retries=1, retry_condition_fn=unless_refused, cache_policy=NO_CACHE)
def write_tokens(work: CacheWork, advance: Callable[[], None]) -> int:
    """Pack the corpus, shard by shard, and commit the tokens; returns the sequences.

    `advance` is called after each shard.
    """
    corpus, step = work.corpus, work.tokens
    tokenizer = work.subject.tokenizer()
    parts: list[Range] = []
    for table in packed_shards(
        corpus.documents(), tokenizer, corpus.sequence, corpus.rows, work.shard, corpus.packing
    ):
        part = Range(table["sequence"][0].as_py(), table["sequence"][-1].as_py() + 1)
        if not work.lake.written(step, part):
            work.lake.write(TOKENS, step.part("tokens", part), table)
        parts.append(part)
        advance()
    work.lake.commit(step, parts)
    return parts[-1].end


@task(
    name="cache",
    task_run_name="cache {shard.first}-{shard.end}",
    retries=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def cache_shard(work: CacheWork, shard: Range) -> int:
    """Run one shard through the model and the coders that lack it; returns the firings.

    The device is held only while it computes: another shard may pass while this one is being written.
    """
    lacking = {coder: step for coder, step, _ in work.coders if not work.lake.written(step, shard)}
    if not lacking:  # another process has written it since it was taken
        return 0
    rows = work.lake.read("tokens", [work.lake.path(work.tokens.part("tokens", shard))], ["tokens"])
    tokens = rows["tokens"].combine_chunks().flatten().to_numpy().reshape(len(rows), work.corpus.sequence)
    # By its module: Dask ships a task with the objects that it names, and a lock cannot be shipped.
    with model_cache.DEVICE:
        model_cache.evict_other_runs(work.mark, work.statistics)
        firings = collect.firings(
            model_cache.loaded_subject(work.subject),
            {coder.name: model_cache.loaded_coder(work.subject, coder) for coder in lacking},
            tokens,
            shard.first,
            work.batch or model_cache.fitting_batch(work.subject, work.all_coders, work.corpus.sequence),
            keep_bos=work.corpus.keep_bos,
        )
    total = 0
    for coder, step in lacking.items():
        columns = firings.pop(coder.name)._asdict()
        total += len(columns["feature"])
        table = pa.table({"coder": pa.repeat(coder.name, len(columns["feature"])), **columns})
        work.lake.write(ACTIVATIONS, step.part("activations", shard), table)
        del columns, table
    release_free_memory()
    return total


@task(
    name="features",
    task_run_name="features {name} {part.first}-{part.end}",
    retries=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def describe_features(work: CacheWork, name: str, part: Range) -> int:
    """Statistics of a block of features by SQL, their logits and neighbours by their rows."""
    lake = work.lake
    coder, activations, features = next(steps for steps in work.coders if steps[0].name == name)
    fired, packed = lake.parts(activations, "activations"), lake.parts(work.tokens, "tokens")
    if len(fired) != len(packed):
        msg = (
            f"{name} has {len(fired)} shards of activations and {len(packed)} of tokens; run the cache again"
        )
        raise RunFailed(msg)
    with model_cache.DEVICE:
        model_cache.evict_other_runs(work.mark, work.statistics)
        bos = model_cache.loaded_subject(work.subject).bos
        read = model_cache.loaded_logit_lens(work.subject, fold_norm=work.describing.fold_norm)
        rows = feature_directions(
            model_cache.loaded_coder(work.subject, coder).coder,
            range(*part),
            read,
            logits=work.describing.logits if model_cache.writes_to_the_stream(work.subject, coder) else 0,
            neighbours=work.describing.neighbours,
            encoder_neighbours=work.describing.encoder_neighbours,
        )
    can_fire = tokens_that_can_fire(lake.uri, work.tokens, bos, keep_bos=work.corpus.keep_bos)
    with lake.connect(threads=1) as connection:
        counted = feature_statistics(
            connection, name, part, list(zip(fired, packed, strict=True)), read.strings, can_fire
        )
    for column in ("top_logits", "bottom_logits", "neighbours", "encoder_neighbours"):
        values = [getattr(row, column) for row in rows]
        counted = counted.append_column(column, pa.array(values, FEATURES.schema.field(column).type))
    lake.write(FEATURES, features.part("features", part), counted)
    return counted.num_rows
