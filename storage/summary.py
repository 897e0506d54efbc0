"""Columns of the view `summary`: one row per explanation, with all that explanations are sorted or filtered by.

The scorers differ from run to run, so their columns are made here from those of `scores`; the rest of the view is
`storage/sql/view_summary.sql`.
"""

from collections.abc import Sequence

import pyarrow as pa

from storage.table import column
from storage.tables import EXPLANATIONS, FEATURES, SAMPLES, SCORES

NAME = "summary"
GRAIN = "one row per feature, explainer and replicate, and one per feature that nobody was asked to explain"
KEYS = ("run", "coder", "feature", "explainer", "replicate")
"""Columns that identify a row; the view `placed` has them beside the numbers of `scores`."""

UNASKED = "nobody was asked to explain it"
UNSCORED = "there is no score"
UNCONTROLLED = "it is not in the control"
OWN = "control = 'none'"
CONTROLLED = "control in ('shuffled', 'mixed')"
UNEXPLAINED = "control = 'unexplained'"
"""SQL for scores of a control: another feature's explanation, or contexts of different features; no explanation."""

BEGIN = (
    column("run", pa.string(), "Name of the run."),
    FEATURES.schema.field("coder"),
    column(
        "site", pa.string(), "Site of the coder in the run's config.", null="the coder's checkpoint names it"
    ),
    FEATURES.schema.field("feature"),
    column(
        "status",
        pa.string(),
        "`explained`, `failed`, `skipped` or `not chosen`; in a run that is under way also `sampled` or `cached`, "
        "which is how far the feature is.",
    ),
    column("reason", pa.string(), "Why it is not explained.", null="it is"),
    column("explainer", pa.string(), "Name of the explainer in the run's config.", null=UNASKED),
    column("replicate", pa.int16(), "Which of several draws of the same explainer.", null=UNASKED),
    column("explanation", pa.string(), "The explanation.", null="there is none; see reason"),
)
MEANS = (
    column(
        "score",
        pa.float64(),
        "Mean of the scores of those scorers that judge the explanation, whatever their measures.",
        null=UNSCORED,
    ),
    column(
        "low",
        pa.float64(),
        "Mean of the lower ends of those scores' 95 % intervals, of scores that have one: a lower bound of the mean of "
        "these, whatever the errors of the scorers have in common; `score` is also over scorers without an interval, "
        "so that `low` may be above it. Rank by it.",
        null="there is no score with an interval",
    ),
    column(
        "floor",
        pa.float64(),
        "Mean of the same scores with another feature's explanation, the shuffled control.",
        null=UNCONTROLLED,
    ),
    column(
        "margin",
        pa.float64(),
        "Mean of the margins of the same scorers: what the explanation is worth above that.",
        null=UNCONTROLLED,
    ),
)
Q = column(
    "q",
    pa.float64(),
    "False discovery rate at which the score is above the floors: its rank among all scores of a control, the worse "
    "one of two, Benjamini-Hochberg over the explainer's explanations.",
    null="no feature is in the control",
)
"""Column of the view `tested`."""
FLOOR_DOCS = {
    "score": "the same with another feature's explanation, or, where none is needed, with contexts of other features.",
    "low": "lower end of the floor's 95 % interval.",
    "high": "upper end of it.",
}
ASKED = ("reader", "model", "prompt_tokens", "completion_tokens")
"""Columns of `explanations` that the view has too."""

DRAWN = {
    "explain": "explain_contexts",
    "contrast": "contrast_contexts",
    "score": "score_contexts",
    "negatives": "negative_contexts",
}
"""Columns of `samples` that have other names in the view."""

NOT_DRAWN = ("coder", "feature", "status", "reason", "firings", "max")
"""Columns of `samples` that the view has already, or takes from `features`."""


def schema(scorers: Sequence[str]) -> pa.Schema:
    """The view's columns in their order, with their meaning, for a run's scorers."""
    scored = [field for scorer, label in labels(scorers).items() for field in _scored(scorer, label)]
    return pa.schema([*BEGIN, *MEANS, *scored, *_rest()])


def labels(scorers: Sequence[str]) -> dict[str, str]:
    """Prefix of each scorer's columns: its name, followed by `_` as often as another column has such a name.

    DuckDB does not distinguish upper and lower case.
    """
    taken = {field.name.casefold() for field in (*BEGIN, *MEANS, *_rest())}
    label_of: dict[str, str] = {}
    for scorer in scorers:
        label = scorer
        while taken & (names := {field.name.casefold() for field in _scored(scorer, label)}):
            label += "_"
        taken |= names
        label_of[scorer] = label
    return label_of


def scored(scorers: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """SQL that makes the view `scored` from `placed`: aggregates by `KEYS`, margins, and all columns in order."""
    label_of = labels(scorers)
    measures = [
        f"max({quoted(measure.name)}) filter (where scorer = {_text(scorer)} and {control}) as {quoted(name)}"
        for scorer, label in label_of.items()
        for name, measure, control in _measures(label)
    ]
    alone_of = {label: quoted(f"{label} alone") for label in label_of.values()}
    measures += [
        f"bool_or(alone) filter (where scorer = {_text(scorer)}) as {alone_of[label]}"
        for scorer, label in label_of.items()
    ]
    measures += [
        f"avg(score order by scorer) filter (where not alone and {OWN}) as score",
        f"avg(low order by scorer) filter (where not alone and {OWN}) as low",
        f"avg(score order by scorer) filter (where not alone and {CONTROLLED}) as floor",
    ]
    margins = [
        f"{quoted(label)} - {quoted(f'{label}_floor')} as {quoted(f'{label}_margin')}"
        for label in label_of.values()
    ]
    above = ", ".join(
        f"if({alone_of[label]}, null, {quoted(f'{label}_margin')})" for label in label_of.values()
    )
    means = ["score", "low", "floor", f"list_avg([{above}]::double[]) as margin"]
    made = [quoted(field.name) for scorer, label in label_of.items() for field in _scored(scorer, label)]
    return measures, margins, [*means, *made]


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _measures(label: str) -> list[tuple[str, pa.Field, str]]:
    """For each number of `scores`: its name in `summary`, its column in `scores`, and the control."""
    numbers = {
        field.name: field
        for field in SCORES.schema
        if pa.types.is_primitive(field.type) and field.name not in (*SCORES.keys, "explanation_of")
    }
    score = numbers.pop("score")
    # `scores` has the interval of every measure; `summary` only that of the score.
    ends = {f"{name}_{end}" for name in numbers for end in ("low", "high")}
    return [
        (label, score, OWN),
        (f"{label}_floor", score, CONTROLLED),
        *((f"{label}_floor_{end}", numbers[end], CONTROLLED) for end in ("low", "high")),
        (f"{label}_unexplained", score, UNEXPLAINED),
        (f"{label}_q", Q, OWN),
        *((f"{label}_{name}", field, OWN) for name, field in numbers.items() if name not in ends),
    ]


def _scored(scorer: str, label: str) -> list[pa.Field]:
    """A scorer's columns."""
    fields = [
        column(name, measure.type, f"{scorer}: {_doc(measure, control)}", null=_null(measure, control))
        for name, measure, control in _measures(label)
    ]
    margin = column(f"{label}_margin", pa.float64(), f"{scorer}: score minus floor.", null=UNCONTROLLED)
    return [*fields[:2], margin, *fields[2:]]


def _doc(measure: pa.Field, control: str) -> str:
    if control == UNEXPLAINED:
        return "the same without an explanation."
    if control == CONTROLLED:
        return FLOOR_DOCS[measure.name]
    doc = measure.metadata[b"doc"].decode()
    return doc[0].lower() + doc[1:]


def _null(measure: pa.Field, control: str) -> str:
    null = (measure.metadata or {}).get(b"null", b"").decode()
    missing = UNSCORED if control == OWN else UNCONTROLLED
    return f"{missing}, or {null}" if null else missing


def _rest() -> list[pa.Field]:
    """The view's columns of `explanations`, `samples` and `features`."""
    asked = [_nullable(EXPLANATIONS.schema.field(name), UNASKED) for name in ASKED]
    drawn = [
        _nullable(field.with_name(DRAWN.get(field.name, field.name)), "it is not sampled yet")
        for field in SAMPLES.schema
        if field.name not in NOT_DRAWN
    ]
    cached = [field for field in FEATURES.schema if field.name not in ("coder", "feature")]
    return [*asked, *drawn, *cached]


def _nullable(field: pa.Field, null: str) -> pa.Field:
    metadata = field.metadata or {}
    both = f"{null}, or {metadata[b'null'].decode()}" if b"null" in metadata else null
    return field.with_nullable(nullable=True).with_metadata({**metadata, b"null": both.encode()})
