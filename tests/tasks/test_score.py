"""What is put to a scorer: explanations with their shuffled control, or features alone."""

from pathlib import Path
from typing import ClassVar

import pytest

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Context
from tasks.controls import UNEXPLAINED
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers.detection import Detection
from tests.tasks.judging import judge


class Alone(Detection, frozen=True):
    """A scorer that needs no explanation."""

    needs_explanation: ClassVar[bool] = False


class Yes(Reader):
    """A reader that says yes to everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def ask(self, request: Request) -> Outcome:
        self.asked.append(request)
        return Outcome(request, Reply(str([1] * len(request.contexts))), None, "here", "yes", 1, 0.0)


def contexts(word: str) -> list[Context]:
    return [
        Context(
            n, "activating" if n % 2 else "random", 0 if n % 2 else None, (f" {word}{n}",), (float(n % 2),)
        )
        for n in range(10)
    ]


WORDS = ("sea", "sky", "sun", "ice", "fog")
FEATURES = {feature: (f"on {word}", contexts(word)) for feature, word in enumerate(WORDS)}


@pytest.mark.parametrize(
    ("scorer", "explainer", "controls"),
    [(Detection, "e", {"none", "shuffled"}), (Alone, "-", {"none", "mixed"})],
)
def test_what_needs_no_explanation_is_asked_once_per_feature(
    tmp_path: Path, scorer: type[Detection], explainer: str, controls: set[str]
) -> None:
    """And once more as a control, under the explainer `-`, about the feature itself."""
    reader = Yes()

    judgements, scores, requests = judge(
        Lake(f"{tmp_path}/lake"), FEATURES, scorer(kind="detection", reader="r"), reader, controls=5
    )

    assert 5 * 2 * len(controls) == len(reader.asked) == len(requests)
    for rows in (judgements, scores):
        assert ({explainer}, controls) == (
            {row["explainer"] for row in rows},
            {row["control"] for row in rows},
        )
        assert all(row["explanation_of"] == row["feature"] for row in rows if row["control"] == "none")
    assert {f"{explainer}/detection"} == {row["component"] for row in requests}
    message = [request.messages[-1].text for request in reader.asked]
    assert (explainer == "e") == any("on sea" in text for text in message)


def test_without_an_explanation_the_same_questions_are_asked(tmp_path: Path) -> None:
    """All of them, with a description that says nothing of the feature."""
    reader = Yes()
    judgements, scores, _ = judge(
        Lake(f"{tmp_path}/lake"), FEATURES, Detection(kind="detection", reader="r"), reader, unexplained=5
    )
    by_control = {
        control: [request.messages[-1].text for request in reader.asked if f"/{control}/" in request.key]
        for control in ("none", "unexplained")
    }
    explained, unexplained = by_control.values()
    assert len(explained) == len(unexplained) > 0
    for number, word in enumerate(WORDS):
        asked = [text for text in explained if f"on {word}" in text]
        assert {text.replace(f"on {word}", UNEXPLAINED) for text in asked} <= set(unexplained), number
    assert {"none", "unexplained"} == {row["control"] for row in (*judgements, *scores)}
    assert all(row["explanation_of"] == row["feature"] for row in scores)


def test_the_mixed_control_shows_contexts_of_others(tmp_path: Path) -> None:
    """Its activating contexts are those of four other features, its silent ones its own; numbers and truths stay."""
    reader = Yes()
    judgements, _, _ = judge(
        Lake(f"{tmp_path}/lake"), FEATURES, Alone(kind="detection", reader="r"), reader, controls=5
    )
    for feature, word in enumerate(WORDS):
        asked = [request for request in reader.asked if request.key.startswith(f"{feature}/0/mixed/")]
        words = [
            (truth, line.split()[-1].rstrip("0123456789"))
            for request in asked
            for truth, line in zip(
                request.truths,
                [example.text for example in render.read(request.messages[-1].text)],
                strict=True,
            )
        ]
        assert set(WORDS) - {word} == {shown for truth, shown in words if truth}
        assert {word} == {shown for truth, shown in words if not truth}
    rows = {
        control: {
            (row["feature"], row["context"], row["truth"]) for row in judgements if row["control"] == control
        }
        for control in ("none", "mixed")
    }
    assert rows["none"] == rows["mixed"]


@pytest.mark.parametrize(("features", "controls"), [(4, 5), (5, 4), (5, 0)])
def test_without_four_others_there_is_no_mixed_control(tmp_path: Path, features: int, controls: int) -> None:
    """A question of an intruder would have two contexts of one feature."""
    judgements, _, _ = judge(
        Lake(f"{tmp_path}/lake"),
        {feature: FEATURES[feature] for feature in range(features)},
        Alone(kind="detection", reader="r"),
        Yes(),
        controls=controls,
    )
    assert {"none"} == {row["control"] for row in judgements}


def test_the_same_question_is_paid_once(tmp_path: Path) -> None:
    """Two features with one explanation and the same contexts: the second costs nothing and is judged all the same."""
    reader = Yes()
    same: dict[int, tuple[str, list[Context]]] = {n: ("on sea", contexts("sea")[:1]) for n in (0, 1)}

    judgements, scores, requests = judge(
        Lake(f"{tmp_path}/lake"), same, Detection(kind="detection", reader="r"), reader
    )

    assert 1 == len(reader.asked)
    assert [1, 0] == [row["attempts"] for row in requests]
    assert [(1, 0), (1, 0)] == [(row["n"], row["n_failed"]) for row in scores]
    assert 2 == len(judgements)
