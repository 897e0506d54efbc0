"""A run of a few of a run's features: it shows how long replies are, and the run takes them over."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import islice

from flows.choose import chosen
from flows.config import AllFeatures, FeaturesByDensity, ListedFeatures, RangeOfFeatures, SampledFeatures
from flows.plan import Plan

PILOT = 20
"""Features that show how long replies are within a few percent."""


def pilot(plan: Plan, command: str, readers: Sequence[str], features: Mapping[str, int]) -> str | None:
    """The sentence that names the command for it; null for a run of no more features than that.

    `command` is the run's own, `readers` are those whose replies are guessed, and `features` says by coder how many
    there will be questions about.
    """
    if max(features.values(), default=0) <= PILOT:
        return None
    setting, among = _few(plan)
    paid_twice = [name for name in readers if getattr(plan.config.readers[name], "replies", "keep") == "off"]
    if paid_twice:
        told = f"readers.{paid_twice[0]}.replies is off, so that they are paid twice"
    elif among:
        told = "the run takes its replies over"
    else:
        told = (
            "the run takes its replies over for features in its range of densities, which no cache tells yet"
        )
    return f"{PILOT} features measure it, and {told}: {command} --set {shlex.quote(setting)}"


def _few(plan: Plan) -> tuple[str, bool]:
    """The setting that chooses a few features, and whether they are sure to be among the run's."""
    match features := plan.config.features:
        case SampledFeatures():
            return f"features.n={PILOT}", True
        case AllFeatures():
            return f"features={{choose: sample, n: {PILOT}}}", True
        case RangeOfFeatures(first=first):
            return f"features.end={first + PILOT}", True
        case ListedFeatures(features=listed):
            return f"features.features={_written(listed)}", True
        case FeaturesByDensity():
            coder = plan.coders[0]
            if not plan.lake.complete(coder.features):
                return f"features={{choose: sample, n: {PILOT}}}", False
            some = chosen(features, plan.lake, coder.features, plan.config.seed)
            return f"features={{choose: list, features: {_written(some)}}}", True


def _written(features: Sequence[int]) -> str:
    return str([*islice(dict.fromkeys(features), PILOT)])
