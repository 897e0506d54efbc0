"""The runs of the benchmark: what they ask, and what they take over from the measured one."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.small_reader.__main__ import READER as READER_ENTRY
from benchmarks.small_reader.cases import EXPLAINERS, JUDGES, LAYOUTS, SIZES
from benchmarks.small_reader.runs import (
    EXACT_READER,
    EXPLAINED,
    JUDGED,
    READER,
    configs,
    measured_run,
    scorer_name,
    values_run,
)
from flows.config import RunConfig
from flows.plan import Plan
from storage.errors import WrongRequest
from storage.lake import Lake
from tasks.llm.in_process.config import TransformersConfig
from tests.flows.command import TINY

SERVED = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "small"}
CHOSEN = {"choose": "sample", "n": 20}


@pytest.fixture
def measured() -> RunConfig:
    """A run with two coders and the baseline."""
    coder: Any = TINY["coders"][0]
    coders = [coder, {**coder, "name": "other"}]
    return RunConfig.model_validate({**TINY, "coders": coders, "features": CHOSEN, "lake": "./lake"})


def test_values_are_of_the_run_s_own_contexts_and_explanations(measured: RunConfig) -> None:
    """No step before the scores is made again, and each feature has another one's explanation as its floor."""
    before = Plan(measured)
    for kind, reader in (("surprisal", EXACT_READER), ("simulation", READER)):
        (values,) = configs(measured, SERVED, SIZES["full"], [kind])
        plan = Plan(values)
        assert values_run(kind) == values.run
        assert [before.coders[0].contexts.fingerprint] == [
            coder.contexts.fingerprint for coder in plan.coders
        ]
        assert before.explanations[0].step.fingerprint == plan.explanations[0].step.fingerprint
        assert values.controls.shuffled >= 20
        assert [(kind, reader)] == [(scorer.kind, scorer.reader) for scorer in values.scorers]


def test_every_layout_is_asked_by_a_scorer_of_its_own(measured: RunConfig) -> None:
    """On the same contexts, half of them activating."""
    judged, explained = configs(measured, SERVED, SIZES["full"], ["judges", "explainers"])

    assert (JUDGED, EXPLAINED) == (judged.run, explained.run)
    names = {scorer_name(kind, layout) for kind in JUDGES for layout in LAYOUTS}
    assert names == {scorer.name for scorer in judged.scorers}
    assert SIZES["full"].contexts == 10 * judged.sample.per_decile
    assert {SIZES["full"].contexts} == {kind.n for kind in judged.sample.negatives}
    assert list(EXPLAINERS) == [explainer.name for explainer in explained.explainers]


def test_what_a_server_computes_in_is_left_to_it(measured: RunConfig) -> None:
    """One on a server is the same twice."""
    values, *_ = configs(measured, SERVED, SIZES["quick"])
    assert values.readers[EXACT_READER] == values.readers[READER]


def test_the_usual_reader_computes_surprisal_in_float32(measured: RunConfig) -> None:
    """Differences of sums would drown in what bfloat16 rounds off; the rest is asked in bfloat16."""
    values, *_ = configs(measured, READER_ENTRY, SIZES["quick"])
    computes = {
        name: reader.dtype
        for name, reader in values.readers.items()
        if isinstance(reader, TransformersConfig)
    }
    assert {READER: "bfloat16", EXACT_READER: "float32"} == computes


def test_a_lake_without_the_run_is_refused(tmp_path: Path) -> None:
    """In one sentence."""
    with pytest.raises(WrongRequest, match="run real is not in"):
        measured_run(Lake(str(tmp_path)), "real")
