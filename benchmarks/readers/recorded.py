"""What a run has recorded and anyone can judge again: contexts to be scored with, and explanations."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc
from pydantic import ValidationError

from flows.config import RunConfig
from flows.config_file import fault
from storage import query, runs
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.layout import Range
from tasks.contexts.context import CONTEXT_COLUMNS, features
from tasks.scorers.base import JudgedExplanation, match_explanations
from tasks.scorers.detection import Detection

_COLUMNS = {
    "contexts": (*CONTEXT_COLUMNS, "role"),
    "samples": ("feature", "status", "max"),
}

Parts = Mapping[Range, str]
"""Where the parts of one table lie."""


@dataclass(frozen=True)
class Recorded:
    """Explanations of one explainer of one coder, each with the contexts of its feature."""

    run: str
    config: RunConfig
    coder: str
    explainer: str
    posed: tuple[JudgedExplanation, ...]
    contexts: tuple[str, ...]
    """Paths of the parts that the contexts are from."""
    samples: tuple[str, ...]
    """Those of the features' parts beside them."""

    @property
    def features(self) -> int:
        """How many there are."""
        return len({explanation.feature.feature for explanation in self.posed})

    @property
    def detection(self) -> Detection | None:
        """The run's first detection that asks in gloss' own words: others are written for one number of contexts."""
        there = (scorer for scorer in self.config.scorers if isinstance(scorer, Detection))
        return next((scorer for scorer in there if scorer.prompt is None), None)


def recorded(lake: Lake, run: str, most: int) -> Recorded:
    """The explanations of a run's first explainer that has any, about the first features, `most` at most.

    Raises `WrongRequest` when the lake has no such run, or the run no explanations.
    """
    record = runs.record(lake, run)
    try:
        config = RunConfig.model_validate(record["config"])
    except ValidationError as error:
        msg = f"run {run} in {lake.uri} is of another version: {fault(error, RunConfig)}; run it again"
        raise WrongRequest(msg) from error
    steps = {(step["stage"], step["name"]): step for step in record["steps"]}
    for (stage, name), step in steps.items():
        if stage == "explanations":
            coder, _, explainer = name.partition("/")
            explained, drawn = _parts(lake, step), _parts(lake, steps["contexts", coder])
            posed, parts = _posed(lake, explained, drawn, most)
            if posed:
                paths = {table: tuple(drawn[table][part] for part in parts) for table in _COLUMNS}
                return Recorded(run, config, coder, explainer, posed, **paths)
    msg = f"run {run} in {lake.uri} holds no explanations; give one whose explainers are done"
    raise WrongRequest(msg)


def _parts(lake: Lake, step: Mapping[str, str]) -> dict[str, Parts]:
    """The parts of a step's tables; none where it is not committed."""
    manifest = lake.manifest_at(step["manifest"])
    return {
        table: {Range.of(path): lake.path(path) for path in paths}
        for table, paths in (manifest.parts if manifest else {}).items()
    }


def _posed(
    lake: Lake, explained: Mapping[str, Parts], drawn: Mapping[str, Parts], most: int
) -> tuple[tuple[JudgedExplanation, ...], list[Range]]:
    """Explanations with their features' contexts, and the parts that hold them: as few as are needed."""
    posed: list[JudgedExplanation] = []
    parts: list[Range] = []
    numbers: set[int] = set()
    for part, path in explained.get("explanations", {}).items():
        contexts, samples = (
            lake.read(table, [drawn[table][part]], columns) for table, columns in _COLUMNS.items()
        )
        shown = features(
            contexts.filter(pc.field("role") == "score"), samples.filter(pc.field("status") == "sampled")
        )
        with lake.connect(threads=1) as connection:
            texts = query.records(connection, "explained", explanations=[path])
        for explanation in match_explanations(shown, texts):
            if explanation.feature.feature in numbers or len(numbers) < most:
                numbers.add(explanation.feature.feature)
                posed.append(explanation)
        parts.append(part)
        if len(numbers) == most:
            break
    return tuple(posed), parts
