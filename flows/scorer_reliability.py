"""Reliability of scorers: how alike two halves of a scorer's questions rank the features of a run."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from storage import runs
from storage.lake import Lake
from storage.layout import Range
from storage.scores import Measure, half_scores
from tasks.correlations import split_half
from tasks.metrics import FEWEST, Estimate

SPLITS = 2
"""Times that each scorer's questions are halved: one division alone is a matter of luck."""
MOST = 400_000
"""Judgements of a scorer that are read, in parts spread over its features: of one or two thousand features."""

_COLUMNS = ["coder", "explainer", "scorer", "feature", "replicate", "control", "measure", "score"]

Key = tuple[str, str, str]
"""Coder, explainer and scorer."""


@dataclass(frozen=True)
class Reliability:
    """How reliable the scores of a scorer are, and what that was found from."""

    estimate: Estimate
    halves: Mapping[int, np.ndarray]
    """Scores (splits, 2) of the halves of each feature's questions."""


def reliabilities(
    lake: Lake,
    run: str,
    connection: duckdb.DuckDBPyConnection,
    measures: Mapping[str, Measure | None],
    seed: int,
) -> dict[Key, Reliability]:
    """Split-half reliability of each scorer's scores; without those that too few features have two halves of.

    `measures` holds the measures of scorers that are meant for another than that of their judgements.
    """
    halves: dict[Key, dict[tuple[int, int], dict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in _half_scores(lake, run, connection, measures):
        if row["score"] is not None:
            split, half = map(int, row["control"].split("/"))
            key = row["coder"], row["explainer"], row["scorer"]
            halves[key][split, half][row["feature"]].append(row["score"])
    estimates = ((key, _reliability(scores, seed)) for key, scores in halves.items())
    return {key: estimate for key, estimate in estimates if estimate}


def _reliability(
    halves: Mapping[tuple[int, int], Mapping[int, Sequence[float]]], seed: int
) -> Reliability | None:
    """Over the features that have a score in every half; the mean of replicates is one score."""
    common = sorted(set.intersection(*(set(scores) for scores in halves.values())))
    if len(common) < FEWEST or len(halves) < 2 * SPLITS:
        return None
    scores = {
        feature: np.array(
            [[np.mean(halves[split, half][feature]) for half in range(2)] for split in range(SPLITS)]
        )
        for feature in common
    }
    return Reliability(split_half(np.stack(list(scores.values()), axis=-1), seed), scores)


def _half_scores(
    lake: Lake, run: str, connection: duckdb.DuckDBPyConnection, measures: Mapping[str, Measure | None]
) -> Iterator[dict]:
    """Scores of halves that measure the same as the score of the whole: one of a single class does not."""
    steps = runs.record(lake, run)["steps"]
    sampled = {step["name"]: _parts(lake, step) for step in steps if step["stage"] == "contexts"}
    scored = {step["name"]: step for step in steps if step["stage"] == "scores"}
    for step in steps:
        if step["stage"] != "judgements" or step["name"] not in scored:
            continue
        coder, _, scorer = step["name"].split("/")
        judged, contexts, samples = (
            _parts(lake, step).get("judgements", {}),
            *(sampled[coder].get(table, {}) for table in ("contexts", "samples")),
        )
        spans = _spread([span for span in judged if span in contexts], lake, step)
        if spans:
            rows = half_scores(
                connection,
                judgements=[judged[span] for span in spans],
                contexts=[contexts[span] for span in spans],
                samples=[samples[span] for span in spans],
                measure=measures.get(scorer),
                splits=SPLITS,
            )
            whole = _measures(lake, scored[step["name"]])
            for row in rows.select(_COLUMNS).to_pylist():
                if row["measure"] == whole.get((row["feature"], row["replicate"])):
                    yield row


def _measures(lake: Lake, step: Mapping) -> dict[tuple[int, int], str | None]:
    """What each score of an explanation or feature itself measures, by feature and replicate."""
    parts = list(_parts(lake, step).get("scores", {}).values())
    rows = lake.read("scores", parts, ("feature", "replicate", "control", "measure")).to_pylist()
    return {(row["feature"], row["replicate"]): row["measure"] for row in rows if row["control"] == "none"}


def _spread(spans: Sequence[Range], lake: Lake, step: Mapping) -> Sequence[Range]:
    """As many of a step's spans of features as have `MOST` judgements, at equal distances."""
    manifest = lake.manifest_at(step["manifest"], step["tables"])
    rows = manifest.rows["judgements"] if manifest else 0
    return spans[:: max(1, -(-rows // MOST))]


def _parts(lake: Lake, step: Mapping) -> dict[str, dict[Range, str]]:
    """Where the parts of each table of a committed step are, by their features; none where it is not committed."""
    manifest = lake.manifest_at(step["manifest"], step["tables"])
    if manifest is None:
        return {}
    return {
        table: {Range.of(path): lake.path(path) for path in sorted(paths)}
        for table, paths in manifest.parts.items()
    }
