"""What is shown tells a classifier nothing that learned from other features, of contexts sampled on the demo's text."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.surface.cases import MOST, Case, examples
from benchmarks.surface.classify import Result, judge
from tasks.contexts.context import Feature
from tasks.scorers import classification
from tests.benchmarks.surface.invented import features


@pytest.fixture(scope="module", params=["grid", "peak"])
def sampled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Feature]:
    """Features on tokens of the demo's text, with windows on the grid or around peaks."""
    return features(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def on_grid(tmp_path_factory: pytest.TempPathFactory) -> list[Feature]:
    """The same for what does not depend on where windows lie."""
    return features(tmp_path_factory.mktemp("on_grid"))


def reached(
    shown: Sequence[Feature], *, named: bool = False, beside: bool = False, **options: object
) -> Result:
    return judge(examples(Case("", options).scorer, shown), named=named, beside=beside)


def test_marks_of_fuzzing_tell_nothing(sampled: list[Feature]) -> None:
    """Neither alone nor beside those of the same question: marks are where another feature fires, the same in each."""
    result = reached(sampled, beside=True, kind="fuzzing")
    assert max(result.within.farthest, result.pooled.farthest) <= MOST, result


def test_contexts_of_detection_tell_nothing(sampled: list[Feature]) -> None:
    """How a window begins and ends and what it consists of, where another feature fires in the negatives."""
    result = reached(sampled, beside=True, kind="detection", kinds=["other_feature"])
    assert max(result.within.farthest, result.pooled.farthest) <= MOST, result


def test_windows_of_detection_tell_nothing(sampled: list[Feature]) -> None:
    """Neither how silent ones begin and end nor what they consist of, each seen alone."""
    result = reached(sampled, kind="detection", kinds=["silent"])
    assert max(result.within.farthest, result.pooled.farthest) <= MOST, result


def test_an_intruder_is_not_told_by_its_marks(on_grid: list[Feature]) -> None:
    """Over all examples it is at chance; four of each five are alike, so that the fifth is named more often."""
    result = reached(on_grid, named=True, kind="intruder")
    assert result.pooled.farthest <= MOST, result
    assert result.within.value <= 0.25, result


def test_examples_of_several_other_features_are_told_beside_each_other(
    on_grid: list[Feature], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question whose negatives are of many features has marked words come again among its positives alone."""
    monkeypatch.setattr(classification, "with_one_other", list)
    assert reached(on_grid[:96], beside=True, kind="fuzzing").within.low > 0.55


def test_the_marks_of_the_paper_give_all_away(on_grid: list[Feature]) -> None:
    """The same places in every negative: the classifier sees them."""
    assert reached(on_grid[:60], kind="fuzzing", kinds=["silent"], marked="paper").within.low > 0.9


def test_a_sign_on_one_class_is_found(on_grid: list[Feature]) -> None:
    """Negatives that begin with a line break are known by it."""
    told = [
        replace(
            feature,
            contexts=tuple(
                item if item.activating else replace(item, strings=("\n", *item.strings[1:]))
                for item in feature.contexts
            ),
        )
        for feature in on_grid[:60]
    ]
    assert reached(told, kind="detection", kinds=["silent"]).within.low > 0.9


def test_a_feature_with_one_class_is_left_out_and_counted(on_grid: list[Feature]) -> None:
    """It has no AUROC: the others' mean is what it is without its examples."""
    seen = examples(Case("", {"kind": "detection", "kinds": ["silent"]}).scorer, on_grid[:30])
    first = seen[0].feature
    kept = judge([example for example in seen if example.feature != first], named=False)
    result = judge([example for example in seen if example.feature != first or example.positive], named=False)
    assert (0, 1, kept.features) == (kept.left_out, result.left_out, result.features)
    assert (kept.within, kept.pooled) == (result.within, result.pooled)
    assert not np.isnan(result.within)[0]
