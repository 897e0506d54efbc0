"""The record of a run in its lake: its config and its steps, by which `gloss status` and SQL find its tables."""

from datetime import UTC, datetime

from flows import leases
from flows.plan import Plan
from flows.redone import redone
from storage.errors import Damaged
from storage.runs import path


def write(plan: Plan) -> None:
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
        old = plan.lake.read_json(path(plan.config.run)) or {}
    except Damaged:  # it is replaced
        old = {}
    if content != {key: value for key, value in old.items() if key != "written"}:
        if line := redone(plan, old):
            from flows.progress import say  # noqa: PLC0415  (Prefect, which a finished run doesn't need)

            say(line)
        written = datetime.now(UTC).isoformat(timespec="seconds")
        plan.lake.write_json(path(plan.config.run), {**content, "written": written})
