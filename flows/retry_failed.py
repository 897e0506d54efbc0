"""`--retry-failed`: remove parts with failed requests, and all that depends on them; the next run makes them anew.

Replies that came are cached (`storage/replies.py`), so that only failed requests are paid for again. A reply that could
not be parsed is no failure of this kind: it would be the same again.
"""

from collections.abc import Collection, Iterable

from flows.plan import Plan
from flows.repair import repair_lake
from storage import query
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.layout import Range, Step


def forget_failures(plan: Plan) -> int:
    """Take out the parts; returns how many requests of theirs had failed.

    Raises `WrongRequest` where replies are not kept, since all of them would be paid again.
    """
    lake = plan.lake
    lake.check_writable()
    repair_lake(plan)
    failed_explanations = {
        explaining.step: _failed(lake, explaining.step) for explaining in plan.explanations
    }
    failed_judgements = {scoring.judgements: _failed(lake, scoring.judgements) for scoring in plan.scores}
    for explaining in plan.explanations:
        if failed_explanations[explaining.step]:
            _require_kept(plan, explaining.readers)
    for scoring in plan.scores:
        if failed_judgements[scoring.judgements] or (
            scoring.explaining and failed_explanations[scoring.explaining.step]
        ):
            _require_kept(plan, scoring.readers)
    for explaining in plan.explanations:
        _drop(lake, explaining.step, failed_explanations[explaining.step])
    for scoring in plan.scores:
        if scoring.explaining and failed_explanations[scoring.explaining.step]:
            # All parts: the shuffled control puts scoring feature's explanation to another's contexts.
            _drop(lake, scoring.judgements, lake.done(scoring.judgements))
            _drop(lake, scoring.scores, lake.done(scoring.scores))
        else:
            _drop(lake, scoring.judgements, failed_judgements[scoring.judgements])
            _drop(lake, scoring.scores, failed_judgements[scoring.judgements])
    return sum(sum(parts.values()) for parts in (*failed_explanations.values(), *failed_judgements.values()))


def _failed(lake: Lake, step: Step) -> dict[Range, int]:
    """Failed requests of a step by part."""
    parts = lake.written_parts(step, "requests")
    if not parts:
        return {}
    with lake.connect() as connection:
        rows = query.records(connection, "failed_parts", requests=parts)
    return {Range.of(str(row["filename"])): int(str(row["failed"])) for row in rows}


def _require_kept(plan: Plan, readers: Iterable[str]) -> None:
    for name in readers:
        reader = plan.config.readers[name]
        if reader.remote and reader.cached_replies == "off":
            msg = f"readers.{name}.replies is off, so that what did not fail would be paid again; set it to keep"
            raise WrongRequest(msg)


def _drop(lake: Lake, step: Step, parts: Collection[Range]) -> None:
    """Take some parts of a step out; it is complete no longer from the first moment on."""
    if not parts:
        return
    lake.remove(step.manifest)
    # The last table decides whether a part is done.
    for table in reversed(step.tables):
        for part in sorted(parts):
            lake.remove(step.part(table, part))
