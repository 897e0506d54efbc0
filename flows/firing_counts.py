"""Counts of silent, rare, positional and unigram features per coder, printed when a cache is complete.

The counts are those that the paper gives of its caches (section 3.1), and that EleutherAI's blog gives of features that
simple rules tell.
"""

from collections.abc import Mapping

import duckdb
from prefect.artifacts import create_markdown_artifact

from flows.progress import say
from flows.terminal import plain
from storage import query, runs
from storage.lake import Lake
from storage.tables import POSITIONAL, RARE, UNIGRAM_TOKENS


def say_firing_counts(lake: Lake, run: str) -> None:
    """Print a line for each coder of a run, and put them into an artifact of the flow run under way."""
    with lake.connect() as connection:
        runs.create_views(lake, connection, run)
        lines = firing_counts(connection).values()
    for line in lines:
        say(line)
    create_markdown_artifact(
        "\n".join(f"- {plain(line)}" for line in lines),
        key="firings",
        description=f"Features of {plain(run)} that never fired, or rarely",
        _sync=True,  # pyright: ignore[reportCallIssue]
    )


def firing_counts(connection: duckdb.DuckDBPyConnection) -> Mapping[str, str]:
    """A sentence on each coder, from the view `features`."""
    bounds = {"rare": RARE, "positional": POSITIONAL, "unigram_tokens": UNIGRAM_TOKENS}
    rows: list[dict] = [dict(row) for row in query.records(connection, "firing_counts", **bounds)]
    return {row["coder"]: _sentence(**row) for row in rows}


def _sentence(
    coder: str,
    tokens: int | None,
    features: int,
    silent: int,
    rare: int,
    positional: int | None,
    unigram: int | None,
) -> str:
    if tokens is None:
        return f"{coder}: none of its {features:,} features fired"
    seldom = (
        f"{coder}: of {features:,} features {silent / features:.1%} never fired and {rare / features:.1%} fired fewer "
        f"than {RARE} times on {tokens:,} tokens"
    )
    kinds = [
        f"{count / (features - rare):.1%} are {kind}"
        for kind, count in (("positional", positional), ("unigram features", unigram))
        if count is not None and features > rare
    ]
    return f"{seldom}; of the others {' and '.join(kinds)}" if kinds else seldom
