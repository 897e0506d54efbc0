"""What a report takes from a run's config: chance by scorer, kinds of readers, coders, choice of features."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.config import (
    AllFeatures,
    FeaturesByDensity,
    ListedFeatures,
    RangeOfFeatures,
    RunConfig,
    SampledFeatures,
)
from storage.scores import Measure

BASELINE = "baseline"
"""The kind of the embedded reader that counts words."""


@dataclass(frozen=True)
class ReportSetup:
    """The parts of a config that a report needs beside the tables; empty where it is not known."""

    chances: Mapping[str, float] = field(default_factory=dict)
    """Of each scorer, by its name."""
    measures: Mapping[str, Measure | None] = field(default_factory=dict)
    """Of each scorer that is meant for another number than that of its judgements."""
    readers: Mapping[str, str] = field(default_factory=dict)
    """The kind of each explainer's reader."""
    judges: frozenset[str] = frozenset()
    """Kinds of the scorers' readers."""
    judged_by: Mapping[str, str] = field(default_factory=dict)
    """The name of each scorer's reader."""
    random: tuple[str, ...] = ()
    """Coders of random weights."""
    coders: tuple[str, ...] = ()
    """In the config's order, in which a report names them."""
    choice: str = "chosen among"
    """How the features were chosen: `200 of them` of `200 drawn at random (seed 22) from the 4,096 of trained`."""

    def place(self, coder: str) -> int:
        """Which of the config's coders it is; those that are not known come last."""
        return self.coders.index(coder) if coder in self.coders else len(self.coders)

    @property
    def has_baseline(self) -> bool:
        """Whether the embedded baseline reader explained or judged."""
        return BASELINE in {*self.readers.values(), *self.judges}


def report_setup(config: RunConfig) -> ReportSetup:
    """What a report takes from the config."""
    return ReportSetup(
        chances={scorer.name: scorer.chance for scorer in config.scorers},
        measures={scorer.name: getattr(scorer, "measure", None) for scorer in config.scorers},
        readers={
            explainer.name: config.readers[explainer.asking.reader].kind if explainer.asking else ""
            for explainer in config.explainers
        },
        judges=frozenset(config.readers[scorer.reader].kind for scorer in config.scorers),
        judged_by={scorer.name: scorer.reader for scorer in config.scorers},
        random=tuple(coder.name for coder in config.coders if coder.source.kind == "random"),
        coders=tuple(coder.name for coder in config.coders),
        choice=choice(config),
    )


def choice(config: RunConfig) -> str:
    """How the features were chosen, for a sentence on a number of them."""
    match config.features:
        case AllFeatures():
            return "(all) of"
        case ListedFeatures():
            return "listed among"
        case RangeOfFeatures(first=first, end=end):
            return f"with indices {first:,} to {end - 1:,} of"
        case SampledFeatures():
            return f"drawn at random (seed {config.seed}) from"
        case FeaturesByDensity(low=low, high=high):
            return f"whose density is between {low:g} and {high:g}, of"
