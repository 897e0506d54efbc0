"""gloss and delphi in turns on one cache, results compared before speed is."""

from collections import defaultdict
from typing import Any

from benchmarks import child
from benchmarks.command import say
from benchmarks.sample.agreement import Agreement
from benchmarks.sample.bench import Bench, Cache, Spent, asked, told
from benchmarks.sample.cases import DELPHI, EARLIER, SEQUENCE, STRONGEST, TOP, Versus
from benchmarks.sample.firings import Coder
from benchmarks.sample.splits import HOOKPOINT
from storage.errors import RunFailed


def measure(bench: Bench, case: Versus) -> None:
    """Measure the case; raises `RunFailed` when windows differ."""
    coder = Coder(case.width, case.per_token, SEQUENCE)
    systems = ["gloss", "peer"] if bench.peers else ["gloss"]
    alike, default = {"sampling": DELPHI, "workers": bench.threads}, {"workers": bench.threads}
    spent: dict[str, list[Spent]] = defaultdict(list)
    with bench.cache(coder, [case.sequences], splits=bool(bench.peers)) as cache:
        for turn in range(case.rounds):
            say(f"every feature, as many contexts as delphi draws, round {turn + 1} of {case.rounds}")
            for name in systems[:: 1 if turn % 2 == 0 else -1]:
                if name == "peer":
                    spent[name].append(_delphi(bench, cache))
                else:
                    spent[name] += [
                        bench.gloss(cache, case.sequences, None, **alike) for _ in range(case.repeats)
                    ]
            if turn == 0 and bench.peers:
                _check(bench, cache, case.sequences, spent["peer"][0]["made"])
        for turn in range(case.rounds):
            say(
                f"every feature by gloss' own defaults and by earlier ones, round {turn + 1} of {case.rounds}"
            )
            spent["default"].append(bench.gloss(cache, case.sequences, None, **default))
            spent["earlier"].append(
                bench.gloss(cache, case.sequences, None, **default | {"sampling": EARLIER})
            )
    _require_all(spent, case.width)
    bench.note("versus_firings", [cache.firings[case.sequences]], "firings")
    _figures(bench, spent)


def _delphi(bench: Bench, cache: Cache) -> Spent:
    assert bench.peers is not None
    request = {
        "splits": str(cache.folder / "splits"),
        "hookpoint": HOOKPOINT,
        "strongest": STRONGEST,
        "threads": bench.threads,
    }
    where = {"python": bench.peers.python, "path": bench.peers.path}
    spent = child.run("benchmarks.sample.delphi_peer", request, threads=bench.threads, **where)
    told("delphi", spent)
    bench.versions.update(spent["versions"])
    return spent


def _check(bench: Bench, cache: Cache, sequences: int, made: dict[str, Any]) -> None:
    """Hold the strongest windows of each feature against delphi's, before any speed is told."""
    request = asked(cache, sequences, None) | {
        "sampling": TOP,
        "name": "strongest",
        "workers": bench.threads,
        "made": made,
    }
    agreement = Agreement(**child.run("benchmarks.sample.check", request, threads=bench.threads))
    say(f"  against delphi: {agreement}")
    refuse(agreement)
    for name, n in agreement._asdict().items():
        bench.note(f"peer_{name}", [n], "features")


def refuse(agreement: Agreement) -> None:
    """Raise `RunFailed` when features have other windows than delphi's, or when there is nothing to compare."""
    if agreement.wrong or not agreement.features:
        msg = (
            f"the strongest windows differ from delphi's for {agreement.wrong:,} of {agreement.features:,} features; "
            "no speed is worth that, look at tasks/sampling/firings.py"
        )
        raise RunFailed(msg)


def _require_all(spent: dict[str, list[Spent]], width: int) -> None:
    """Raise `RunFailed` where a system skipped features: skipping takes no time."""
    for name, runs in spent.items():
        if any(run["sampled"] != width for run in runs):
            msg = f"{name} sampled {runs[0]['sampled']:,} of {width:,} features; choose sizes at which none is skipped"
            raise RunFailed(msg)


def _figures(bench: Bench, spent: dict[str, list[Spent]]) -> None:
    for name, runs in spent.items():
        bench.note(f"{name}_features_per_second", [_speed(run) for run in runs], "features/s")
        cpu = [run["cpu_s"] / run["sampled"] * 1e3 for run in runs]
        bench.note(f"{name}_cpu_ms_per_feature", cpu, "ms")
        bench.note(f"{name}_contexts_per_feature", [run["contexts"] / run["sampled"] for run in runs])
        bench.note(f"{name}_peak_mb", [run["peak_bytes"] / 1e6 for run in runs], "MB")
    if "peer" in spent:
        repeats = len(spent["gloss"]) // len(spent["peer"])
        turns = [(ours, spent["peer"][turn // repeats]) for turn, ours in enumerate(spent["gloss"])]
        bench.note("features_per_second_over_peer", [_speed(ours) / _speed(theirs) for ours, theirs in turns])
        bench.note("peer_cpu_over_gloss", [theirs["cpu_s"] / ours["cpu_s"] for ours, theirs in turns])


def _speed(spent: Spent) -> float:
    return spent["sampled"] / spent["wall_s"]
