"""What failed is asked again: parts with failed requests, and all that hangs on them, are taken out of the lake.

The next run makes them anew. Replies that came are kept (`storage/replies.py`), so that only what failed is paid for.
A reply that could not be read is no failure of this kind: it would be the same again.
"""

from collections.abc import Collection, Iterable

from flows.plan import Plan
from flows.repair import mend
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
    mend(plan)
    explaining = {one.step: _failed(lake, one.step) for one in plan.explanations}
    judging = {one.judgements: _failed(lake, one.judgements) for one in plan.scores}
    for one in plan.explanations:
        if explaining[one.step]:
            _require_kept(plan, one.explainer.readers.values())
    for one in plan.scores:
        if judging[one.judgements] or (one.explaining and explaining[one.explaining.step]):
            _require_kept(plan, [one.scorer.reader])
    for one in plan.explanations:
        _drop(lake, one.step, explaining[one.step])
    for one in plan.scores:
        if one.explaining and explaining[one.explaining.step]:
            # All parts: the shuffled control puts one feature's explanation to another's contexts.
            _drop(lake, one.judgements, lake.done(one.judgements))
            _drop(lake, one.scores, lake.done(one.scores))
        else:
            _drop(lake, one.judgements, judging[one.judgements])
            _drop(lake, one.scores, judging[one.judgements])
    return sum(sum(parts.values()) for parts in (*explaining.values(), *judging.values()))


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
        if getattr(plan.config.readers[name], "replies", "keep") == "off":
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
