"""Scores from judgements, by SQL: one statement each for counts, what follows from them, ranks and correlations."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

import duckdb
import pyarrow as pa

from storage import query
from storage.tables import SCORES

Measure = Literal["accuracy", "balanced_accuracy"]
"""Measures of verdicts that can be their score."""

_MACROS = (
    "student",
    "few_questions_factor",
    "satterthwaite",
    "satterthwaite_together",
    "wilson",
    "effective_size",
    "area_size",
    "share_variance",
    "share_correlation",
    "shrunk_correlation",
    "clustered",
    "summed_variance",
    "mover",
    "ratio_low",
    "weighted",
    "fisher",
)
_JUDGED = "scores_judged"
_SUBJECTS = (
    "scores_asked_twice",
    "scores_counts",
    "scores_verdicts",
    "scores_combined",
    "scores_hit_rates",
    "scores_curves",
    "scores_brier",
    "scores_simulated",
)


def digest() -> str:
    """Hash of all statements that compute scores, 16 hexadecimal digits; it is part of their fingerprint."""
    names = (*_MACROS, _JUDGED, *_SUBJECTS, SCORES.name)
    return sha256("\0".join(map(query.statement, names)).encode()).hexdigest()[:16]


def scores(
    connection: duckdb.DuckDBPyConnection,
    judgements: Sequence[str],
    contexts: Sequence[str],
    samples: Sequence[str],
    measure: Measure | None = None,
) -> pa.Table:
    """Rows of `scores` of one scorer on one explainer's explanations, from the paths of these parts.

    `measure` is the measure of verdicts that becomes the score; None takes the one they are made for.
    """
    query.run(connection, _JUDGED, judgements=judgements, contexts=contexts)
    return _scored(connection, samples, measure)


def half_scores(
    connection: duckdb.DuckDBPyConnection,
    judgements: Sequence[str],
    contexts: Sequence[str],
    samples: Sequence[str],
    measure: Measure | None = None,
    *,
    splits: int = 1,
) -> pa.Table:
    """As `scores`, of two random halves of the questions, without controls: `control` is `split/half`, from `0/0`."""
    query.run(connection, _JUDGED, judgements=judgements, contexts=contexts)
    query.run(connection, "scores_halves", splits=splits)
    return _scored(connection, samples, measure)


def _scored(
    connection: duckdb.DuckDBPyConnection, samples: Sequence[str], measure: Measure | None
) -> pa.Table:
    for macro in _MACROS:
        query.run(connection, macro)
    for subject in _SUBJECTS:
        query.run(connection, subject)
    return query.rows(connection, SCORES.name, SCORES, samples=samples, measure=measure)
