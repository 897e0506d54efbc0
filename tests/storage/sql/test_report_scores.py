"""What the report's medians are taken over."""

import duckdb

from storage import query
from storage.tables import SCORES

SCORED = """
create temp table scores as
select
    'demo' as coder, 'exemplars' as explainer, 'detection' as scorer, feature::integer as feature,
    replicate::smallint as replicate, control, 'balanced_accuracy' as measure, score, 10 as n, 1 as n_failed
from range(3) as features(feature), range($replicates) as draws(replicate),
    (values ('none', 0.75), ('shuffled', 0.5)) as both_of(control, score)
"""
"""Three features, each explained so many times alike."""


def _reported(replicates: int) -> list[dict[str, object]]:
    with duckdb.connect() as connection:
        connection.execute(SCORED, {"replicates": replicates})
        assert {row[0] for row in connection.sql("describe scores").fetchall()} <= {*SCORES.schema.names}
        return [dict(row) for row in query.records(connection, "report_scores")]


def test_replicates_are_no_features() -> None:
    """Three explanations of a feature that score alike are one score, and the report is no surer for them."""
    once, thrice = _reported(1), _reported(3)

    assert [(0, 0.75, 0.5), (1, 0.75, 0.5), (2, 0.75, 0.5)] == [
        (row["feature"], row["score"], row["floor"]) for row in once
    ]
    assert [row | {"n": 30, "n_failed": 3} for row in once] == thrice
