"""RunConfig: the whole configuration of a run, one frozen model for the command, YAML, Prefect's form and the tests.

Imports neither torch nor Prefect. No `from __future__ import annotations` here: it breaks flows whose parameters
are pydantic models when they are served.
"""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    model_validator,
)

from flows.sample_requests import asks_anything, sample_requests
from storage.summary import labels
from tasks.activations.config import Coder, Describing
from tasks.activations.corpus import Corpus
from tasks.activations.subject import Subject
from tasks.explainers import Explainer
from tasks.explainers.base import ExplainerInputs
from tasks.fields import LARGEST_SEED, NAME, ConfigModel, Name, Seed, kinds, misread, worded
from tasks.llm.readers import AnyReader
from tasks.sampling.config import Sampling
from tasks.scorers import Scorer

SEEDED = {
    kind
    for union in (Explainer, Scorer)
    for kind, part in kinds(union).items()
    if "seed" in part.model_fields
}
"""Kinds of explainers and scorers that have a seed."""

MOST_SHARDS = 1_000_000
"""Shards of a corpus that a run may plan: each is named in memory, and is a file of each of its tables."""

MOST_TRIED = 50
"""Contexts per decile that are tried out to tell how many a scorer needs."""


class AllFeatures(ConfigModel, frozen=True):
    """Every feature of every coder."""

    choose: Literal["all"]


class ListedFeatures(ConfigModel, frozen=True):
    """Features by index, of every coder."""

    choose: Literal["list"]
    features: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, json_schema_extra={"uniqueItems": True}
    )
    """Their indices, each once."""

    @model_validator(mode="after")
    def _each_once(self) -> "ListedFeatures":
        twice = [feature for feature, count in Counter(self.features).items() if count > 1]
        if twice:
            msg = f"features names {twice[0]} twice; name each once"
            raise ValueError(msg)
        return self


class RangeOfFeatures(ConfigModel, frozen=True):
    """A range of indices, of every coder."""

    choose: Literal["range"]
    first: int = Field(ge=0)
    """The first index."""
    end: int = Field(ge=1)
    """End index (exclusive)."""

    @model_validator(mode="after")
    def _order(self) -> "RangeOfFeatures":
        if self.end <= self.first:
            msg = f"end {self.end} must be greater than first {self.first}"
            raise ValueError(msg)
        return self


class SampledFeatures(ConfigModel, frozen=True):
    """A seeded random sample of every coder's features, dead ones included."""

    choose: Literal["sample"]
    n: int = Field(ge=1)
    """How many of each coder."""


class FeaturesByDensity(ConfigModel, frozen=True):
    """Features whose `density` in the table `features` lies between two bounds, or at one of them."""

    choose: Literal["density"]
    low: float = Field(default=0.0, ge=0, le=1)
    """Least share."""
    high: float = Field(default=1.0, ge=0, le=1)
    """Greatest share."""

    @model_validator(mode="after")
    def _order(self) -> "FeaturesByDensity":
        if self.high <= self.low:
            msg = f"high {self.high:g} must be greater than low {self.low:g}"
            raise ValueError(msg)
        return self


Features = Annotated[
    AllFeatures | ListedFeatures | RangeOfFeatures | SampledFeatures | FeaturesByDensity,
    Field(discriminator="choose"),
]


class Controls(ConfigModel, frozen=True):
    """Floors that are measured beside every run."""

    shuffled: int = Field(default=200, ge=0)
    """Features that are also scored with another feature's explanation (2 or more), or, by scorers that need none, with
    contexts of different other features (5 or more); 0 leaves the control out."""
    unexplained: int = Field(default=200, ge=0)
    """Features that are also scored without an explanation (2 or more), which is what the questions themselves tell; 0
    leaves the control out."""


class Budget(ConfigModel, frozen=True):
    """What a run may spend on readers; changes nothing in the tables."""

    cost: float = Field(gt=0, allow_inf_nan=False)
    """In the currency of the readers' prices, over all commands that continue the run. Before a request would exceed
    it, the run stops with exit code 1; what is done is kept, and a larger budget continues. Of several processes that
    make one run at once each counts what was paid before it began, and what it pays itself."""


class Amounts(ConfigModel, frozen=True):
    """How much is done at a time; changes nothing in the tables."""

    shard: int = Field(default=512, ge=1)
    """Sequences per shard: what a crash loses at most, and what bounds the memory of caching."""
    batch: int | None = Field(default=None, ge=1)
    """Sequences that pass through the model at once; null takes 32 on a CPU and what fits on a GPU."""
    bucket: int = Field(default=256, ge=1)
    """Chosen features per bucket."""
    memory: float = Field(default=4.0, gt=0)
    """Gigabytes that DuckDB may use for each CPU task; what is larger, such as pairs of features that fire on the same
    tokens, goes to the disk meanwhile."""
    buckets_in_flight: int = Field(default=4, ge=1)
    """Buckets whose requests are under way at a time."""


class Threads(Amounts, frozen=True):
    """Tasks run in threads of this process; requests to readers in its event loop."""

    kind: Literal["threads"] = "threads"
    workers: int = Field(default=2, ge=1)
    """CPU tasks at a time."""


class Dask(Amounts, frozen=True):
    """Shards and buckets are made by the workers of a Dask cluster, one process per GPU; requests in this one."""

    kind: Literal["dask"]
    address: str = Field(pattern=r"^(tcp|tls|ucx|ws|wss)://.+")
    """Its scheduler, such as tcp://10.0.0.1:8786."""
    timeout: float = Field(default=20.0, gt=0)
    """Seconds to wait for the scheduler."""


class RunConfig(ConfigModel, frozen=True):
    """A run: what is explained, from which text, by whom, and how it is judged."""

    run: Name
    """Its name in `gloss status` and in the tables."""
    lake: str = Field(default="./gloss-lake", min_length=1)
    """Folder or `s3://bucket/prefix` that holds all tables."""
    subject: Subject
    """The language model."""
    corpus: Corpus
    """The text."""
    coders: tuple[Coder, ...] = Field(min_length=1)
    """The sparse coders."""
    describe: Describing = Describing()
    """What the table `features` says of every feature by its weights."""
    features: Features = AllFeatures(choose="all")
    """Which features are explained."""
    sample: Sampling = Sampling()
    """Which contexts readers are shown."""
    explainers: tuple[Explainer, ...] = Field(min_length=1)
    """Who writes explanations."""
    scorers: tuple[Scorer, ...] = ()
    """How they are judged."""
    controls: Controls = Controls()
    """Floors."""
    readers: dict[Annotated[str, Field(pattern=NAME)], AnyReader] = Field(min_length=1)
    """Endpoints and readers in this process, by the names that explainers and scorers use."""
    reader_check: bool = True
    """Whether each reader that is a language model is tried out with some twenty questions of known answers before it
    is asked for the first time; a reader that fails some is reported, and the run continues. Affects no table but
    `requests`."""
    budget: Budget | None = None
    """What may be spent on readers; null sets no bound."""
    runner: Annotated[Threads | Dask, Field(discriminator="kind")] = Threads()
    """Where tasks run and how much at a time; changes nothing in the tables."""
    seed: Seed = 22
    """Seeds every random choice of the run."""

    @model_validator(mode="wrap")
    @classmethod
    def _as_given(cls, data: Any, handler: ModelWrapValidatorHandler["RunConfig"]) -> "RunConfig":
        """Refuse values that pydantic would convert silently."""
        config = handler(worded(data))
        for sentence in misread(data, config):
            raise ValueError(sentence)
        return config

    @model_validator(mode="before")
    @classmethod
    def _seeded(cls, data: Any) -> Any:
        """Explainers and scorers without a seed of their own take the run's."""
        if not isinstance(data, dict):
            return data
        seed = data.get("seed", 22)
        if not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
            return data  # the fault is the run's

        def seeded(part: Any) -> Any:
            if not isinstance(part, dict):
                return part
            passed = {"otherwise": seeded(part["otherwise"])} if "otherwise" in part else {}
            return ({"seed": seed} if part.get("kind") in SEEDED else {}) | part | passed

        lists = {
            key: data[key] for key in ("explainers", "scorers") if isinstance(data.get(key), list | tuple)
        }
        return {**data, **{key: [seeded(part) for part in parts] for key, parts in lists.items()}}

    @model_validator(mode="after")
    def _can_keep_its_budget(self) -> "RunConfig":
        for name, reader in self.readers.items() if self.budget else ():
            if reader.remote and reader.cached_replies == "off":
                msg = (
                    f"budget.cost is set, and readers.{name}.replies is off, so that nothing would tell what was paid "
                    "before a kill: set it to keep"
                )
                raise ValueError(msg)
            for key in reader.missing_prices:
                msg = f"budget.cost is set, and readers.{name} has no {key}: give it one"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _describes_enough(self) -> "RunConfig":
        """Neighbours that are sampled must be described."""
        sampled = {"negatives": self.sample.negatives, "contrast": self.sample.contrast}
        needs = (
            (f"sample.{role}.{i}.neighbours", *need)
            for role, kinds in sampled.items()
            for i, kind in enumerate(kinds)
            for need in kind.described_neighbours.items()
        )
        for path, key, needed in needs:
            kept = getattr(self.describe, key)
            if kept < needed:
                msg = (
                    f"{path} {needed} is more than describe.{key} {kept}: give one of them the other's number"
                )
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _can_be_planned(self) -> "RunConfig":
        shards = -(-self.corpus.rows // self.runner.shard)
        if shards > MOST_SHARDS:
            msg = (
                f"corpus.tokens {self.corpus.tokens} makes more than {MOST_SHARDS:,} shards of runner.shard "
                f"{self.runner.shard} sequences: ask for fewer tokens, or for larger shards"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.sample.window > self.corpus.sequence:
            msg = f"sample.window {self.sample.window} is longer than corpus.sequence {self.corpus.sequence}"
            raise ValueError(msg)
        for path, parts in (
            ("coders", self.coders),
            ("explainers", self.explainers),
            ("scorers", self.scorers),
        ):
            names = [part.name for part in parts]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                msg = f"{path}: the name {twice[0]} is used twice; give each a name of its own"
                raise ValueError(msg)
        named = {f"scorers.{i}.reader": part.reader for i, part in enumerate(self.scorers)}
        for i, explainer in enumerate(self.explainers):
            named |= {f"explainers.{i}.{path}": reader for path, reader in explainer.readers.items()}
        for path, reader in named.items():
            if reader not in self.readers:
                msg = f"{path} is {reader!r}; readers has {', '.join(sorted(self.readers))}"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _scorers_have_their_contexts(self) -> "RunConfig":
        given = {kind.kind: kind.of_neighbours for kind in self.sample.negatives}
        for i, scorer in enumerate(self.scorers):
            lacking = scorer.unmet_need(given) or self._unasked(scorer)
            if lacking:
                msg = f"scorers.{i}: {lacking}"
                raise ValueError(msg)
        return self

    def _unasked(self, scorer: Scorer) -> str | None:
        """What is wrong where a scorer has no question even about a feature with all the contexts that are drawn."""
        plain = scorer.model_copy(update={"prompt": None})
        if asks_anything(plain, self.sample):
            return None
        there = f"{scorer.kind} asks no question about contexts such as sample draws"
        for more in range(self.sample.per_decile + 1, MOST_TRIED):
            if asks_anything(plain, self.sample.model_copy(update={"per_decile": more})):
                return f"{there}, with per_decile {self.sample.per_decile}; set sample.per_decile to {more} or more"
        return f"{there}; draw more in sample.negatives, or ask this scorer for fewer at once"

    @model_validator(mode="after")
    def _names_are_free(self) -> "RunConfig":
        """Each scorer's columns of `summary` bear its name."""
        for i, (name, label) in enumerate(labels([part.name for part in self.scorers]).items()):
            if label != name:
                msg = (
                    f"scorers.{i}.name is {name!r}, and summary has a column that is called as one of this scorer's "
                    "would be; give it another name"
                )
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _explainable(self) -> "RunConfig":
        given = ExplainerInputs(
            coders=tuple(coder.name for coder in self.coders),
            lake=self.lake,
            explain=self.sample.explain,
            contrast=sum(kind.n for kind in self.sample.contrast),
            logits=self.describe.logits,
        )
        for i, explainer in enumerate(self.explainers):
            lacking = explainer.unmet_need(given)
            if lacking:
                msg = f"explainers.{i}: {lacking}"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _answerable(self) -> "RunConfig":
        """Embedded readers are asked nothing that they never answer."""
        for path, name, request in sample_requests(self.explainers, self.scorers):
            reader = self.readers[name]
            refused = reader.refuses(request)
            if refused:
                msg = (
                    f"{path} is {name!r}, and a reader of kind {reader.kind} {refused}; "
                    "name one that answers this, such as one of kind openai or transformers"
                )
                raise ValueError(msg)
        return self
