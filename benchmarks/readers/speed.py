"""gloss, a bare HTTP client and delphi in turns on one endpoint: requests per second, and CPU time of each."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.command import say
from benchmarks.peers import Peers
from benchmarks.readers.cases import COMPARED, IN_FLIGHT, Size
from benchmarks.readers.server import endpoint
from benchmarks.report import Bound, Figure
from storage.errors import RunFailed

BOUNDS = {
    "requests_per_second": Bound(at_most=False, value=1500),
    "cpu_ms_per_request": Bound(at_most=True, value=0.9),
    "cpu_over_bare": Bound(at_most=True, value=1.25),
    "requests_per_second_over_peer": Bound(at_most=False, value=6),
}


@dataclass(frozen=True)
class Speed:
    """What was measured."""

    figures: list[Figure] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """Of the peer's packages."""


def measure(size: Size, peers: Peers | None, scratch: Path) -> Speed:
    """Let all ask in turns, gloss without and with replies kept. Raises `RunFailed` when a question got no answer."""
    speed = Speed()
    rates, costs = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    systems = ["gloss", "bare", "kept", *(["peer"] if peers else [])]
    with endpoint() as url:
        for turn in range(size.rounds):
            for name in systems[:: 1 if turn % 2 == 0 else -1]:
                count = size.peer_questions if name == "peer" else size.questions
                request = {"url": url, "questions": count, "in_flight": IN_FLIGHT}
                if name == "kept":
                    request["lake"] = str(scratch / f"lake-{turn}")
                spent = _delphi(speed, request, peers) if name == "peer" and peers else _ours(name, request)
                if spent["answered"] != count:
                    msg = f"{name} got {spent['answered']} answers to {count} questions"
                    raise RunFailed(msg)
                rates[name].append(count / spent["wall_s"])
                costs[name].append(1000 * spent["cpu_s"] / count)
                say(
                    f"  {name:5} {rates[name][-1]:7,.0f} questions/s, {costs[name][-1]:6.2f} ms of CPU for each"
                )
    for name, prefix in (("gloss", ""), ("bare", "bare_"), ("kept", "kept_"), ("peer", "peer_")):
        if rates[name]:
            speed.figures.append(Figure.of(f"{prefix}requests_per_second", rates[name], "requests/s"))
            speed.figures.append(Figure.of(f"{prefix}cpu_ms_per_request", costs[name], "ms"))
    speed.figures.append(Figure.of("cpu_over_bare", _ratios(costs["gloss"], costs["bare"])))
    if rates["peer"]:
        speed.figures.append(
            Figure.of("requests_per_second_over_peer", _ratios(rates["gloss"], rates["peer"]))
        )
    return speed


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Of what was measured in the same turn."""
    return [mine / yours for mine, yours in zip(ours, theirs, strict=True)]


def by_shown(size: Size) -> list[Figure]:
    """What a verdict costs the asking process with each number of contexts per question, in turns.

    Questions about one context each go in lists, as they do where the server takes them, and in calls of their own.
    Raises `RunFailed` when a question got no answer.
    """
    ways = {f"shown_{shown}": (shown, True) for shown in COMPARED} | {"shown_1_alone": (1, False)}
    rates, costs = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for turn in range(size.rounds):
        for name in list(ways)[:: 1 if turn % 2 == 0 else -1]:
            shown, lists = ways[name]
            count = size.contexts // shown
            with endpoint(shown) as url:
                asked = {
                    "url": url,
                    "questions": count,
                    "in_flight": IN_FLIGHT,
                    "shown": shown,
                    "lists": lists,
                }
                spent = _ours("gloss", asked)
            if spent["answered"] != count:
                msg = (
                    f"gloss got {spent['answered']} answers to {count} questions about {shown} contexts each"
                )
                raise RunFailed(msg)
            rates[name].append(size.contexts / spent["wall_s"])
            costs[name].append(1000 * spent["cpu_s"] / size.contexts)
            say(f"  {name:13} {rates[name][-1]:7,.0f} verdicts/s, {costs[name][-1]:6.3f} ms of CPU for each")
    return [
        figure
        for name in ways
        for figure in (
            Figure.of(f"{name}_contexts_per_second", rates[name], "contexts/s"),
            Figure.of(f"{name}_cpu_ms_per_context", costs[name], "ms"),
        )
    ]


def _ours(name: str, request: dict[str, object]) -> dict[str, Any]:
    return child.run(f"benchmarks.readers.{'bare' if name == 'bare' else 'ours'}", request, threads=1)


def _delphi(speed: Speed, request: dict[str, object], peers: Peers) -> dict[str, Any]:
    where = {"python": peers.python, "path": peers.path}
    spent = child.run("benchmarks.readers.delphi_peer", request, threads=1, **where)
    speed.versions.update(spent["versions"])
    return spent
