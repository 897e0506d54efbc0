"""What a config must give its explainers, and which of their options make new explanations."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.config import RunConfig
from flows.config_file import fault
from flows.plan import Plan
from flows.preflight import check_explainers
from storage.errors import WrongRequest
from tasks.explainers.exemplars import Exemplars
from tests.flows.command import TINY

BASE: dict[str, Any] = {"kind": "exemplars", "reader": "baseline"}
BEST = {**BASE, "temperature": 0.7, "replicates": 3, "best_of": {}}

REFUSED = {
    "replicates without a temperature": ({**BASE, "replicates": 2}, "explainers.0", "alike at temperature 0"),
    "a choice among one": ({**BASE, "best_of": {}}, "explainers.0", "there is 1"),
    "a choice without contexts": (BEST, "explainers.0: best_of needs 10", "sample.contrast gives 0"),
    "more held out than shown": (
        {**BEST, "best_of": {"held_out": 11}},
        "explainers.0: best_of.held_out 11 is more than half of sample.explain 20",
        "hold out fewer",
    ),
    "a chooser that is not there": (
        {**BEST, "best_of": {"reader": "judge"}},
        "explainers.0.best_of.reader is 'judge'; readers has baseline",
    ),
    "contrast without contexts": (
        {"kind": "contrastive", "reader": "baseline"},
        "explainers.0: contrastive needs non-activating contexts",
        "set sample.contrast to",
    ),
    "another one's contrast without contexts": (
        {"kind": "single_token", "otherwise": {"kind": "contrastive", "reader": "baseline"}},
        "explainers.0: contrastive needs non-activating contexts",
    ),
    "another one's reader that is not there": (
        {"kind": "single_token", "otherwise": {**BASE, "reader": "judge"}},
        "explainers.0.otherwise.reader is 'judge'",
    ),
    "a seed of one that draws nothing": (
        {"kind": "single_token", "seed": 3},
        "explainers.0.seed is not a key",
    ),
    "a misspelt format": (
        {"kind": "import", "path": "x", "format": "csv"},
        "explainers.0.format is 'csv'",
        "'parquet'",
    ),
    "its own explanations": (
        {"kind": "import", "path": "lake/explanations/", "format": "parquet"},
        "explainers.0: path lake/explanations/ is where this run writes explanations itself",
    ),
    "its own lake": (
        {"kind": "import", "path": "./lake", "format": "parquet"},
        "explainers.0: path ./lake is where this run writes explanations itself",
    ),
    "coders that are not there": (
        {"kind": "import", "path": "x", "format": "delphi", "coders": {"other": "layers.2"}},
        "explainers.0: coders has other, which is no coder of this run; they are demo",
    ),
}


def config(explainer: dict[str, Any], **changes: object) -> RunConfig:
    return RunConfig.model_validate({**TINY, "lake": "./lake", "explainers": [explainer], **changes})


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_an_explainer_cannot_work_with_is_refused(case: tuple) -> None:
    """In one sentence that says where and what to do, before anything is written."""
    explainer, *expected = case
    with pytest.raises(ValidationError) as error:
        config(explainer)
    sentence = fault(error.value, RunConfig)
    assert all(words in sentence for words in expected), sentence


def test_logits_need_logits() -> None:
    """A table without them has nothing to show."""
    explainer = {"kind": "logits", "reader": "judge"}
    judge = {"judge": {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "m"}}
    readers = {**TINY["readers"], **judge}
    assert config(explainer, readers=readers)
    with pytest.raises(
        ValidationError, match=r"explainers.0: logits needs .* describe.logits is 0; set it to 10"
    ):
        config(explainer, readers=readers, describe={"logits": 0})


def test_the_run_s_seed_reaches_whoever_draws() -> None:
    """The explainer of the other features too, unless it has one of its own."""
    other = {"kind": "single_token", "otherwise": BASE}
    assert 5 == config(other, seed=5).explainers[0].asking.seed  # type: ignore[union-attr]
    other = {"kind": "single_token", "otherwise": {**BASE, "seed": 6}}
    assert 6 == config(other, seed=5).explainers[0].asking.seed  # type: ignore[union-attr]


def test_what_makes_other_explanations_makes_another_step() -> None:
    """Each option, whose prompts are asked, and who is asked to choose."""
    plain = config(BASE)
    options: list[dict[str, Any]] = [
        {},
        {"replicates": 2},
        {"replicates": 3},
        {"replicates": 2, "best_of": {}},
        {"replicates": 2, "best_of": {"held_out": 9}},
        {"replicates": 2, "best_of": {"shown": 4}},
        {"replicates": 2, "best_of": {"reader": "other"}},
    ]
    readers = {**plain.readers, "other": plain.readers["baseline"]}
    prints = set()
    for changes in options:
        explainer = Exemplars.model_validate({**BASE, "temperature": 0.7, **changes})
        # A run that gives contexts to choose by, whatever they are.
        run = plain.model_copy(update={"explainers": (explainer,), "readers": readers})
        prints.add(Plan(run).explanations[0].step.fingerprint)
    assert len(options) == len(prints)


def test_files_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    """A fault in them is a wrong request, and theirs alone decides what is made again."""
    file = tmp_path / "theirs.jsonl"
    file.write_text(json.dumps({"feature": 3, "text": "ships"}))
    explainer = {"kind": "import", "path": str(file), "format": "jsonl"}
    run = config(explainer, lake=str(tmp_path / "lake"))
    check_explainers(Plan(run))
    before = Plan(run).explanations[0].step.fingerprint
    file.write_text(json.dumps({"feature": "three", "text": "ships"}))
    assert before != Plan(run).explanations[0].step.fingerprint
    with pytest.raises(WrongRequest, match="is 'three', not the index of a feature"):
        check_explainers(Plan(config(explainer, lake=str(tmp_path / "lake"))))
    assert not (tmp_path / "lake").exists()
