"""What a run consists of: its steps, with fingerprints, before anything is done.

The plan says what has to be there; the lake says what is. Nothing here loads a model or starts Prefect.
"""

from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from flows.config import RunConfig
from storage.lake import Lake
from storage.layout import Step
from storage.scores import digest
from storage.tables import NO_EXPLAINER
from tasks.activations import VERSION as ACTIVATIONS_VERSION
from tasks.activations.config import Coder
from tasks.explainers import Explainer
from tasks.llm import prompt
from tasks.llm.sentence_transformers import SentenceModel
from tasks.reader_check import questions
from tasks.sampling import VERSION as CONTEXTS_VERSION
from tasks.sampling.config import Sampling
from tasks.sampling.negatives.base import SearchingKind
from tasks.scorers import Scorer

FEATURES_VERSION = 5
"""Raise it when `features` gets other rows from the same activations, or other columns."""

EMBEDDINGS_VERSION = 1
"""Raise it when the same model and tokens give other rows of `embeddings`."""

CHECK_VERSION = 1
"""Raise it when the same answers to a reader's check give other rows of `requests`."""

SCORES_VERSION = 6
"""Raise it when the same statements give other rows, or judgements are read in another way; a changed statement needs
no raising, since a hash of all is in the step."""


Component = tuple[str, str]
"""`explainers` or `scorers`, and the name of one of them."""


@dataclass(frozen=True)
class CoderSteps:
    """What is made of one coder before anyone reads anything."""

    coder: Coder
    activations: Step
    features: Step
    contexts: Step


@dataclass(frozen=True)
class Explaining:
    """One explainer's explanations of one coder's features."""

    coder: CoderSteps
    explainer: Explainer
    step: Step

    @property
    def name(self) -> str:
        """The explainer's name in the config."""
        return self.explainer.name

    @property
    def component(self) -> Component:
        """The explainer, whatever the coder."""
        return ("explainers", self.name)

    @property
    def readers(self) -> tuple[str, ...]:
        """Names of the readers that it asks, each once."""
        return tuple(dict.fromkeys(self.explainer.readers.values()))

    @property
    def asks_for(self) -> Step:
        """The step whose rows are made from the readers' replies."""
        return self.step

    @property
    def asks_about(self) -> tuple[Step, ...]:
        """The steps that must be complete before its requests are known."""
        return (self.coder.contexts,)


@dataclass(frozen=True)
class Scoring:
    """One scorer's judgements of one explainer's explanations, or of a coder's features alone."""

    coder: CoderSteps
    explaining: Explaining | None
    """Null where the scorer needs no explanation."""
    scorer: Scorer
    judgements: Step
    scores: Step

    @property
    def explainer(self) -> str:
        """What the tables call the explainer."""
        return self.explaining.explainer.name if self.explaining else NO_EXPLAINER

    @property
    def name(self) -> str:
        """The scorer's name in the config."""
        return self.scorer.name

    @property
    def component(self) -> Component:
        """The scorer, whatever the coder and the explainer."""
        return ("scorers", self.name)

    @property
    def readers(self) -> tuple[str, ...]:
        """The name of the reader that it asks."""
        return (self.scorer.reader,)

    @property
    def asks_for(self) -> Step:
        """The step whose rows are made from the reader's replies."""
        return self.judgements

    @property
    def asks_about(self) -> tuple[Step, ...]:
        """The steps that must be complete before its requests are known."""
        return (self.coder.contexts, *([self.explaining.step] if self.explaining else []))


Asker = Explaining | Scoring
"""An explainer or a scorer on one coder: what asks readers."""


@dataclass(frozen=True)
class Checking:
    """Questions with known answers to one reader, before it is asked anything else."""

    reader: str
    components: tuple[questions.Component, ...]
    step: Step


@dataclass(frozen=True)
class Plan:
    """A run's steps, in the order in which they are made."""

    config: RunConfig

    @property
    def lake(self) -> Lake:
        """Where it is kept."""
        return Lake(self.config.lake)

    @cached_property
    def tokens(self) -> Step:
        """Packing the corpus."""
        corpus = self.config.corpus
        return Step(
            stage="tokens",
            name="corpus",
            tables=("tokens",),
            config=corpus.identity() | {"tokenizer": self.config.subject.tokenizer_digest()},
            version=ACTIVATIONS_VERSION,
            extent={"tokens": corpus.tokens},
            extends=True,
        )

    @cached_property
    def coders(self) -> tuple[CoderSteps, ...]:
        """Caching and sampling, coder by coder."""
        subject = {"subject": self.config.subject.digest(), "dtype": self.config.subject.dtype}
        return tuple(self._coder(coder, subject) for coder in self.config.coders)

    def _coder(self, coder: Coder, subject: dict[str, str]) -> CoderSteps:
        activations = Step(
            stage="activations",
            name=coder.name,
            tables=("activations",),
            config=subject
            | {
                "site": coder.site,
                "coder": coder.source.identity(coder.site),
                "coder_dtype": coder.dtype,
                "keep_bos": self.config.corpus.keep_bos,
            },
            version=ACTIVATIONS_VERSION,
            parents=(self.tokens,),
            extends=True,
        )
        describe = {"describe": _dump(self.config.describe)}
        features = Step("features", coder.name, ("features",), describe, FEATURES_VERSION, (activations,))
        contexts = Step(
            stage="contexts",
            name=coder.name,
            tables=("samples", "contexts"),
            config={
                "sampling": _sampling(self.config.sample),
                "features": _dump(self.config.features),
                "seed": self.config.seed,
            },
            version=CONTEXTS_VERSION,
            parents=(features, *self.embedded),
        )
        return CoderSteps(coder, activations, features, contexts)

    @cached_property
    def embedding_models(self) -> dict[SearchingKind, SentenceModel]:
        """The models of the kinds of negatives that compare texts, by kind."""
        sampling = self.config.sample
        kinds = [
            kind for kind in (*sampling.contrast, *sampling.negatives) if isinstance(kind, SearchingKind)
        ]
        return {kind: kind.embedding_model for kind in kinds if kind.embedding_model}

    @cached_property
    def embeddings(self) -> dict[SearchingKind, Step]:
        """The vectors of windows that these kinds compare, by kind; they are of the cache, and of no coder."""
        return {
            kind: Step(
                stage="embeddings",
                name="corpus",
                tables=("embeddings",),
                config={
                    "model": model.identity(),
                    "window": self.config.sample.window,
                    "search": kind.search,
                    "seed": self.config.seed,
                },
                version=EMBEDDINGS_VERSION,
                parents=(self.tokens,),
            )
            for kind, model in self.embedding_models.items()
        }

    @property
    def embedded(self) -> tuple[Step, ...]:
        """Their steps, each once."""
        return tuple({step.fingerprint: step for step in self.embeddings.values()}.values())

    @cached_property
    def explanations(self) -> tuple[Explaining, ...]:
        """Every explainer on every coder."""
        return tuple(
            Explaining(
                coder,
                explainer,
                Step(
                    stage="explanations",
                    name=f"{coder.coder.name}/{explainer.name}",
                    tables=("requests", "explanations"),
                    config=self._explaining(explainer),
                    version=prompt.VERSION,
                    parents=(coder.contexts,),
                ),
            )
            for coder in self.coders
            for explainer in self.config.explainers
        )

    @cached_property
    def scores(self) -> tuple[Scoring, ...]:
        """Every scorer on every explainer's explanations, or once per coder where it needs none."""
        explained = [
            self._scoring(explaining.coder, explaining, scorer)
            for explaining in self.explanations
            for scorer in self.config.scorers
            if scorer.needs_explanation
        ]
        alone = [
            self._scoring(coder, None, scorer)
            for coder in self.coders
            for scorer in self.config.scorers
            if not scorer.needs_explanation
        ]
        return (*explained, *alone)

    def _scoring(self, coder: CoderSteps, explaining: Explaining | None, scorer: Scorer) -> Scoring:
        explainer = explaining.explainer.name if explaining else NO_EXPLAINER
        name = f"{coder.coder.name}/{explainer}/{scorer.name}"
        controls = {"controls": _dump(self.config.controls), "control_seed": self.config.seed}
        judgements = Step(
            stage="judgements",
            name=name,
            tables=("requests", "judgements"),
            config=self._asking("tasks.scorers", scorer) | controls,
            version=prompt.VERSION,
            parents=(explaining.step if explaining else coder.contexts,),
        )
        metrics = {"statements": digest()}
        scores = Step("scores", name, ("scores",), metrics, SCORES_VERSION, (judgements,))
        return Scoring(coder, explaining, scorer, judgements, scores)

    def _explaining(self, explainer: Explainer) -> dict[str, object]:
        asked = {path: self.config.readers[name].identity() for path, name in explainer.readers.items()}
        return {**explainer.identity(), "readers": asked}

    def _asking(self, package: str, component: Scorer) -> dict[str, object]:
        reader = self.config.readers[component.reader]
        return {
            "component": _dump(component),
            "reader": reader.identity(),
            "prompts": prompt.digest(package, component.kind, component.prompt),
        }

    @cached_property
    def checks(self) -> tuple[Checking, ...]:
        """Every reader that is checked: language models, of which nobody knows beforehand what they can do."""
        checks = []
        for name, reader in self.config.readers.items():
            asked = questions.components(name, self.config.explainers, self.config.scorers)
            if reader.language_model and asked:
                config = {"reader": reader.identity(), "questions": questions.digest(asked)}
                checks.append(
                    Checking(name, asked, Step("check", name, ("requests",), config, CHECK_VERSION))
                )
        return tuple(checks)

    def askers(self, *stages: str) -> tuple[Asker, ...]:
        """Who asks readers in some stages: explainers in `explain`, scorers in `score`, nobody in the others."""
        by_stage: dict[str, tuple[Asker, ...]] = {"explain": self.explanations, "score": self.scores}
        return tuple(asker for stage in stages for asker in by_stage.get(stage, ()))

    def stage(self, name: str) -> tuple[Step, ...]:
        """The steps of one stage: cache, sample, explain or score."""
        return {
            "cache": (
                self.tokens,
                *(coder.activations for coder in self.coders),
                *(coder.features for coder in self.coders),
            ),
            "sample": (*self.embedded, *(coder.contexts for coder in self.coders)),
            "explain": tuple(explaining.step for explaining in self.explanations),
            "score": tuple(step for scoring in self.scores for step in (scoring.judgements, scoring.scores)),
        }[name]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps of the stages."""
        return tuple(step for stage in STAGES for step in self.stage(stage))

    @property
    def recorded(self) -> tuple[Step, ...]:
        """All steps, and the checks of readers that the lake has: a run is complete without them."""
        checked = (check.step for check in self.checks if self.lake.complete(check.step))
        return (*checked, *self.steps)

    def unfinished(self, *stages: str) -> tuple[Step, ...]:
        """Steps of some stages that the lake doesn't have complete."""
        lake = self.lake
        return tuple(step for stage in stages for step in self.stage(stage) if not lake.complete(step))


STAGES = ("cache", "sample", "explain", "score")
"""The stages of a run, in order."""

ASKING_STAGES = ("explain", "score")
"""The stages that ask readers."""


def _dump(model: BaseModel) -> dict[str, object]:
    return model.model_dump(mode="json")


def _sampling(sampling: Sampling) -> dict[str, object]:
    """Without the names of embedding models: what they are, the embeddings say."""
    named = {"__all__": {"model", "revision"}}
    return sampling.model_dump(mode="json", exclude={"contrast": named, "negatives": named})
