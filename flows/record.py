"""The record of a run in its lake: its config and its steps, by which `gloss status` and SQL find its tables."""

from datetime import UTC, datetime

from flows.plan import STAGES, Plan
from storage.runs import path


def write(plan: Plan) -> None:
    """Write the record; every stage does before its first part, so that an unfinished run can be asked about."""
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
            "complete": not plan.unfinished(*STAGES),
        },
    )
