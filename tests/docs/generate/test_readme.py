"""The README's feature: made from a lake, as it is there."""

from pathlib import Path

import duckdb
import pytest

from flows.coder_comparison import ORDER
from flows.report_setup import ReportSetup
from storage.lake import Lake
from tests.docs.generator import generator
from tests.storage.made import CODERS

GENERATOR = generator("readme")


def test_the_best_feature_is_shown_with_its_scores(connection: duckdb.DuckDBPyConnection) -> None:
    """The one with the highest lower bound, its explanation, each scorer's number beside its floor, and verdicts."""
    row = connection.sql(
        "select feature, explanation, detection, detection_floor, detection_q from summary "
        "where replicate = 0 and status = 'explained' order by low desc nulls last, score desc, feature limit 1"
    ).fetchone()
    assert row is not None
    feature, explanation, score, floor, q = row
    text = GENERATOR.feature(connection, {"detection": 0.5})

    assert text.startswith(f"feature {feature} of ")
    assert explanation.split()[0] in text
    (line,) = [line for line in text.splitlines() if line.startswith("  detection   ")]
    numbers = line.split()
    # It was not judged without an explanation.
    assert [f"{score:.2f}", "0.50", f"{floor:.2f}", "-", f"{q:.3f}"] == [numbers[1], *numbers[5:9]]
    assert "  silent " in text


def test_a_run_of_the_command_has_such_a_feature(undisturbed: Path) -> None:
    """Its lines fit into a README; of one coder there is no order."""
    text = GENERATOR.of_run(Lake(undisturbed.as_posix()), "tiny")

    assert [] == [line for line in text.splitlines() if len(line) > GENERATOR.WIDTH + 2]
    assert ORDER not in text


@pytest.mark.parametrize(
    ("activations", "expected"),
    [
        ([0.0, 0.0, 5.0, 0.0], "a⏎b<<c>>d"),
        ([0.0, 2.0, 5.0, 1.0], "a⏎<<b>><<c>>d"),
        ([0.0, 0.0, 0.0, 0.0], "a⏎bcd"),
    ],
)
def test_an_excerpt_marks_what_fires(activations: list[float], expected: str) -> None:
    """Tokens above three tenths of the peak, on one line."""
    assert expected == GENERATOR.excerpt(["a\n", "b", "c", "d"], activations, max(activations))


def test_an_excerpt_is_cut_around_its_peak() -> None:
    """The strongest token is always in it."""
    strings, activations = [" word"] * 40, [0.0] * 30 + [9.0] + [0.0] * 9
    excerpt = GENERATOR.excerpt(strings, activations, 9.0)

    assert "<< word>>" in excerpt
    assert len(excerpt) <= GENERATOR.SHOWN


def test_several_coders_are_put_in_order(connection: duckdb.DuckDBPyConnection) -> None:
    """As a run's report has it, scorer by scorer; the best feature says of how many of its own coder."""
    coder, explained = connection.sql(
        "select coder, count(*) from summary where replicate = 0 and status = 'explained' "
        "group by coder order by max(low) desc"
    ).fetchall()[0]
    first = GENERATOR.feature(connection, {}).splitlines()[0]
    assert f" of {coder} (" in first
    assert first.endswith(f"; best of {explained}")

    title, *lines = GENERATOR.coder_order(connection, ReportSetup())
    assert ORDER == title
    assert ["good/detection", "odd/detection", "good/fuzzing", "odd/fuzzing"] == [
        line.strip().split(":")[0] for line in lines
    ]
    assert all(f"{name} ." in line for name in CODERS for line in lines)
