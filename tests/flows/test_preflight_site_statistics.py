"""Statistics of sites are recorded once, and whoever comes later takes those that are there."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from flows.plan import Plan
from flows.preflight import record_site_statistics, recorded_site_statistics
from storage.lake import Lake
from storage.layout import Step
from tasks.activations.config import Coder
from tasks.coders.base import SiteStatistics
from tasks.coders.baselines import Neurons, RandomWeights

RANDOM = Coder(site="layers.2", source=RandomWeights(width=8, k=2), name="r")
NEURONS = Coder(site="layers.2", source=Neurons(), name="n")


def test_what_was_recorded_first_holds(tmp_path: Path) -> None:
    """Numbers come back bit for bit, a second measurement changes nothing, and neurons need none."""
    steps = {coder: Step("activations", coder.name, ("activations",), {}, 1) for coder in (RANDOM, NEURONS)}
    coders = [SimpleNamespace(coder=coder, activations=step) for coder, step in steps.items()]
    plan = cast("Plan", SimpleNamespace(lake=Lake(str(tmp_path)), coders=coders))
    first = {RANDOM: SiteStatistics((0.1, 1 / 3), (1e-30, 2.0))}

    assert {} == recorded_site_statistics(plan)
    assert first == record_site_statistics(plan, first)
    assert first == record_site_statistics(plan, {RANDOM: SiteStatistics((9.0, 9.0), (9.0, 9.0))})
    assert first == recorded_site_statistics(plan)
