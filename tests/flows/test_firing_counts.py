"""What is said of how often a coder's features fired."""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flows.firing_counts import firing_counts
from flows.report import _markdown, report
from flows.terminal import plain
from storage import runs
from storage.tables import RARE, UNIGRAM_TOKENS
from tests.storage.made import RUN, made

TOKENS = 1_000_003


def _sentences(*features: Mapping[str, object]) -> list[str]:
    """The sentences about features, each with its differences from one that is neither positional nor unigram."""
    usual = {
        "coder": "demo",
        "firings": RARE,
        "position_information": 0.05,
        "strong_tokens": UNIGRAM_TOKENS + 1,
    }
    rows = [usual | dict(feature) for feature in features]
    rows = [row | {"density": int(str(row["firings"])) / TOKENS} for row in rows]
    types = {"firings": pa.int64(), "position_information": pa.float64(), "strong_tokens": pa.int32()}
    schema = pa.schema({"coder": pa.string(), **types, "density": pa.float64()})
    with duckdb.connect() as connection:
        connection.register("features", pa.Table.from_pylist(rows, schema))
        return list(firing_counts(connection).values())


def test_shares_are_of_all_features_and_kinds_of_those_that_fire_enough() -> None:
    """Dead features are rare ones as well; what fires too rarely is of neither kind, whatever its numbers."""
    rare = {"firings": RARE - 1, "position_information": 0.2, "strong_tokens": 1}
    silent = {"firings": 0, "position_information": None, "strong_tokens": None}
    unigram, positional = {"strong_tokens": UNIGRAM_TOKENS}, {"position_information": 0.051}

    (line,) = _sentences(silent, silent, rare, {}, {}, unigram, unigram, positional)

    assert line == (
        "demo: of 8 features 25.0% never fired and 37.5% fired fewer than 200 times on 1,000,003 tokens; "
        "of the others 20.0% are positional and 40.0% are unigram features"
    )


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ({"firings": 0}, "demo: none of its 1 features fired"),
        (
            {"firings": 1},
            "demo: of 1 features 0.0% never fired and 100.0% fired fewer than 200 times on 1,000,003 tokens",
        ),
        (
            {"position_information": None, "strong_tokens": None},
            "demo: of 1 features 0.0% never fired and 0.0% fired fewer than 200 times on 1,000,003 tokens",
        ),
    ],
)
def test_unknown_counts_are_left_out(feature: Mapping[str, object], expected: str) -> None:
    """No kinds where all are rare, or where an older version wrote the features; no tokens where nothing fired."""
    assert [expected] == _sentences(feature)


def test_coders_are_told_apart_in_the_report(tmp_path: Path) -> None:
    """One line for each coder, in a run's report as in its cache's end."""
    lake = made(f"{tmp_path}/lake")
    with lake.connect() as connection:
        runs.create_views(lake, connection, RUN)
        lines = firing_counts(connection)

    assert ["large", "small"] == list(lines)
    result = report(lake, RUN, seed=22)
    assert list(lines.values()) == list(result.firings)
    assert all(f"- {plain(line)}\n" in _markdown(result) for line in lines.values())
