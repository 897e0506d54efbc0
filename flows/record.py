"""The record of a run in its lake: its config and its steps, by which `gloss status` and SQL find its tables."""

from datetime import UTC, datetime

from flows.plan import Plan
from storage.runs import path


def begin(plan: Plan) -> None:
    """Write the record before the first part, so that an unfinished run can be asked about."""
    _write(plan, finished=None)


def finish(plan: Plan) -> None:
    """Note that all steps are committed."""
    _write(plan, finished=datetime.now(UTC).isoformat(timespec="seconds"))


def _write(plan: Plan, finished: str | None) -> None:
    steps = [
        {
            "stage": step.stage,
            "name": step.name,
            "fingerprint": step.fingerprint,
            "tables": list(step.tables),
            "folders": {table: step.folder(table) for table in step.tables},
            "manifest": step.manifest,
        }
        for step in plan.steps
    ]
    plan.lake.write_json(
        path(plan.config.run),
        {
            "run": plan.config.run,
            "config": plan.config.model_dump(mode="json"),
            "steps": steps,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "finished": finished,
        },
    )
