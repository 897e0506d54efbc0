"""The statistics of sites that coders are made to the measure of, as the lake holds them.

They are written when a cache begins and read by whoever continues it: on another machine the same tokens give other
last bits, and a coder must be the same for all of its shards.
"""

from collections.abc import Mapping

from flows.plan import Plan
from storage.layout import Step
from tasks.activations.coder import Coder
from tasks.coders.base import SiteStatistics


def recorded(plan: Plan) -> dict[Coder, SiteStatistics]:
    """What the lake holds for the plan's coders that need statistics and whose cache has begun."""
    found = {}
    for coder in plan.coders:
        content = (
            plan.lake.read_json(_path(coder.activations)) if coder.coder.source.needs_statistics else None
        )
        if content is not None:
            found[coder.coder] = SiteStatistics(tuple(content["mean"]), tuple(content["deviation"]))
    return found


def record(plan: Plan, measured: Mapping[Coder, SiteStatistics]) -> dict[Coder, SiteStatistics]:
    """Write those that the lake lacks; returns what it holds then, which another process may have written first."""
    there = recorded(plan)
    for coder in plan.coders:
        statistics = measured.get(coder.coder)
        if statistics is not None and coder.coder not in there:
            plan.lake.write_json(_path(coder.activations), dict(statistics._asdict()))
    return recorded(plan)


def _path(activations: Step) -> str:
    return f"sites/{activations.address}.json"
