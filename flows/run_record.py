"""The record of a run in its lake: its config and its steps, by which `gloss status` and SQL find its tables.

Where it replaces the record of an earlier run under the same name, one line states which steps are made anew, and why.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from flows import leases
from flows.plan import STAGES, Plan
from storage.errors import Damaged
from storage.layout import Step
from storage.runs import record_path

VERSIONS: Mapping[tuple[str, int], str] = {
    (
        "features",
        5,
    ): "features have the information that position gives, and the number of their strong tokens",
    (
        "contexts",
        7,
    ): "contexts say which other feature fires in them, and lie in documents of their own role alone",
    ("explanations", 5): "characters of several tokens, tabs and carriage returns are shown whole",
    ("judgements", 5): "questions say last what is asked, and few-shot examples are others",
    (
        "scores",
        6,
    ): "intervals from few questions are neither too narrow, by chance or rounding, nor needlessly wide",
}
"""What another version of a stage's code changes in its rows, by stage and version."""

_MOST_KEYS = 3
"""Keys of a config that a reason names."""


class _Change(NamedTuple):
    """A step that replaces a committed one, and why: null where only what it is made from has changed."""

    step: Step
    reason: str | None


def redone(plan: Plan, record: Mapping[str, object]) -> str | None:
    """One line on the unfinished steps that replace committed steps of `record`; null where there are none.

    `record` is what the lake remembers of the run: `runs/<run>.json`. Reads one manifest per changed step.
    """
    changes = list(_changes(plan, record))
    causes: dict[str, list[Step]] = {}
    for change in changes:
        if change.reason is not None:
            causes.setdefault(change.reason, []).append(change.step)
    followers = [change.step for change in changes if change.reason is None]
    parts = [f"{_names(steps)} ({reason})" for reason, steps in causes.items()]
    if followers:
        parts.append(f"{_names(followers)} ({'made from these' if parts else 'the corpus has another size'})")
    if not parts:
        return None
    return f"Made anew: {'; '.join(parts)}. Questions that were answered before are not asked again."


def _changes(plan: Plan, record: Mapping[str, object]) -> Iterator[_Change]:
    recorded = {(step["stage"], step["name"]): step for step in _steps(record)}
    for step in plan.unfinished(*STAGES):
        before = recorded.get((step.stage, step.name))
        if before is None or before["fingerprint"] == step.fingerprint:
            continue
        try:
            manifest = plan.lake.read_json(before["manifest"])
        except Damaged:
            continue
        # Parts of a step that only grew lie where they did, and are used again.
        if manifest is not None and not (step.extends and manifest.get("address") == step.address):
            yield _Change(step, _reason(step, manifest))


def _steps(record: Mapping[str, object]) -> Sequence[dict[str, str]]:
    steps = record.get("steps")
    return steps if isinstance(steps, list) else []


def _reason(step: Step, manifest: Mapping[str, object]) -> str | None:
    """Why a step's fingerprint is another; null where neither its version nor its config differs."""
    reasons = []
    version = manifest.get("version")
    if version != step.version:
        unnamed = f"its code has version {step.version}, and had {version}"
        reasons.append(VERSIONS.get((step.stage, step.version), unnamed))
    before = manifest.get("config")
    now = json.loads(json.dumps(step.config))
    keys = list(_differing(before if isinstance(before, dict) else {}, now))
    if keys:
        more = [f"{len(keys) - _MOST_KEYS} more"] if len(keys) > _MOST_KEYS else []
        reasons.append(f"changed: {', '.join([*keys[:_MOST_KEYS], *more])}")
    return "; ".join(reasons) or None


def _differing(before: Mapping[str, object], now: Mapping[str, object], path: str = "") -> Iterator[str]:
    """Dotted paths of the keys whose values differ."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, f"{path}{key}.")
        elif old != new:
            yield f"{path}{key}"


def _names(steps: Sequence[Step]) -> str:
    """Steps by stage: `judgements of demo/exemplars/detection and 3 more`."""
    stages: dict[str, list[str]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step.name)
    described = []
    for stage, names in stages.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        described.append(stage if stage == "tokens" else f"{stage} of {names[0]}{more}")
    return ", ".join(described)


def record_run(plan: Plan) -> None:
    """Write the record; every stage does before its first part, so that an unfinished run can be asked about.

    Not before it has its workers, as a request that is refused leaves nothing. A record that says the same already is
    left alone; for one that is replaced, a line says which of its steps are made anew, and why.

    Raises `WrongRequest` or `RunFailed` when another command with another config makes the run (`flows/leases.py`).
    """
    leases.take(plan)
    steps = [
        {
            "stage": step.stage,
            "name": step.name,
            "fingerprint": step.fingerprint,
            "tables": list(step.tables),
            "folders": {table: step.folder(table) for table in step.tables},
            "manifest": step.manifest,
        }
        for step in plan.recorded
    ]
    content = {"run": plan.config.run, "config": plan.config.model_dump(mode="json"), "steps": steps}
    try:
        old = plan.lake.read_json(record_path(plan.config.run)) or {}
    except Damaged:  # it is replaced
        old = {}
    if content != {key: value for key, value in old.items() if key != "written"}:
        if line := redone(plan, old):
            from flows.progress import say  # noqa: PLC0415  (Prefect, which a finished run doesn't need)

            say(line)
        written = datetime.now(UTC).isoformat(timespec="seconds")
        plan.lake.write_json(record_path(plan.config.run), {**content, "written": written})
