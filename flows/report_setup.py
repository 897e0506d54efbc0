"""What a report takes from a run's config: chance by scorer, kinds of readers, random coders, choice of features."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from flows.config import (
    AllFeatures,
    FeaturesByDensity,
    ListedFeatures,
    RangeOfFeatures,
    RunConfig,
    SampledFeatures,
)
from storage.errors import WrongRequest
from storage.scores import Measure
from tasks.activations.sites import Site, named_site, unwrapped

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
    random_coders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each coder those of random weights at the same site."""
    choice: str = "chosen among"
    """How the features were chosen: `200 of them` of `200 drawn at random (seed 22) from the 2,048 of demo`."""

    @property
    def has_baseline(self) -> bool:
        """Whether the embedded baseline reader explained or judged."""
        return BASELINE in {*self.readers.values(), *self.judges}


def report_setup(config: RunConfig) -> ReportSetup:
    """What a report takes from the config."""
    random = {coder.name for coder in config.coders if coder.source.kind == "random"}
    sites = _sites(config) if random else dict.fromkeys(coder.name for coder in config.coders)
    return ReportSetup(
        chances={scorer.name: scorer.chance for scorer in config.scorers},
        measures={scorer.name: getattr(scorer, "measure", None) for scorer in config.scorers},
        readers={
            explainer.name: config.readers[explainer.asking.reader].kind if explainer.asking else ""
            for explainer in config.explainers
        },
        judges=frozenset(config.readers[scorer.reader].kind for scorer in config.scorers),
        random_coders={
            name: tuple(sorted(other for other in random if sites[other] == site))
            for name, site in sites.items()
            if name not in random
        },
        choice=choice(config),
    )


def _sites(config: RunConfig) -> dict[str, Site | str | None]:
    """The site of each coder, whether its config or its checkpoint names it, and in whichever library's terms.

    The centred form of a site is the site here. A name that cannot be read stays as it is: the run has ended.
    """
    from transformers import AutoConfig  # noqa: PLC0415  (seconds to import, for runs with random coders alone)

    sites: dict[str, Site | str | None] = {}
    for coder in config.coders:
        declared = coder.named_site()
        sites[coder.name] = declared.site if declared else None
        with suppress(WrongRequest, OSError, ValueError):
            subject = AutoConfig.from_pretrained(
                config.subject.files.config_folder(), revision=config.subject.revision
            )
            site = named_site(declared.site if declared else "", subject)
            form = "raw" if site.form == "centred" else site.form
            sites[coder.name] = replace(site, module=unwrapped(site.module), form=form)
    return sites


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
