"""What is marked tells a classifier nothing that learned from other features, on the demo's text."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.surface.cases import MOST, Case, examples
from benchmarks.surface.classify import Result, judge
from tasks.contexts.context import Feature
from tests.benchmarks.surface.invented import features


@pytest.fixture(scope="module")
def invented() -> list[Feature]:
    """Features on tokens of the demo's text."""
    return features()


@pytest.fixture(scope="module")
def half(invented: list[Feature]) -> list[Feature]:
    """Half of them, where less has to be told apart."""
    return invented[::2]


def reached(shown: Sequence[Feature], names: bool = False, **options: object) -> Result:
    return judge(examples(Case("", options).scorer, shown), named=names)


def test_marks_of_fuzzing_tell_nothing(invented: list[Feature]) -> None:
    """Those of windows in which another feature fires."""
    result = reached(invented, kind="fuzzing")
    assert result.within.value <= MOST, result
    assert result.pooled.value <= MOST, result


@pytest.mark.parametrize("negatives", ["silent", "other_feature"])
def test_contexts_of_detection_tell_nothing(half: list[Feature], negatives: str) -> None:
    """Neither how they begin and end nor what they consist of."""
    result = reached(half, kind="detection", kinds=[negatives])
    assert result.within.value <= MOST, result


@pytest.mark.parametrize("marks", ["active", "mismarked"])
def test_wrong_marks_in_windows_of_the_feature_tell_little(half: list[Feature], marks: str) -> None:
    """Frequent words are easier to be marked wrongly than rare ones: docs/metrics.md says how much remains."""
    assert reached(half, kind="fuzzing", marks=marks).within.value <= 0.62


def test_an_intruder_is_not_told_by_its_marks(invented: list[Feature]) -> None:
    """Of five examples the likeliest is the intruder as often as any other."""
    result = reached(invented, names=True, kind="intruder")
    assert result.within.low <= 0.2 + 0.03, result
    assert result.within.value <= 0.25, result


def test_the_marks_of_the_paper_give_all_away(half: list[Feature]) -> None:
    """The same places in every negative: the classifier is no blind one."""
    assert reached(half, kind="fuzzing", kinds=["silent"], marked="paper").within.low > 0.9


def test_a_sign_on_one_class_is_found(invented: list[Feature]) -> None:
    """Negatives that begin with a line break are known by it."""
    told = [
        replace(
            feature,
            contexts=tuple(
                item if item.activating else replace(item, strings=("\n", *item.strings[1:]))
                for item in feature.contexts
            ),
        )
        for feature in invented[:40]
    ]
    assert reached(told, kind="detection", kinds=["silent"]).within.low > 0.9
