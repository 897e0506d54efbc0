"""What is put to a scorer: explanations with their shuffled control, or features alone."""

from pathlib import Path
from typing import ClassVar

import pytest

from storage.lake import Lake
from tasks.contexts.context import Context
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


FEATURES = {feature: (f"on {word}", contexts(word)) for feature, word in enumerate(("sea", "sky", "sun"))}


@pytest.mark.parametrize(
    ("scorer", "explainer", "controls"),
    [(Detection, "e", {"none", "shuffled"}), (Alone, "-", {"none"})],
)
def test_what_needs_no_explanation_is_asked_once_per_feature(
    tmp_path: Path, scorer: type[Detection], explainer: str, controls: set[str]
) -> None:
    """Without a control, under the explainer `-`, about the feature itself."""
    reader = Yes()

    judgements, scores, requests = judge(
        Lake(f"{tmp_path}/lake"), FEATURES, scorer(kind="detection", reader="r"), reader, controls=3
    )

    assert 3 * 2 * len(controls) == len(reader.asked) == len(requests)
    for rows in (judgements, scores):
        assert ({explainer}, controls) == (
            {row["explainer"] for row in rows},
            {row["control"] for row in rows},
        )
        assert all(row["explanation_of"] == row["feature"] for row in rows if row["control"] == "none")
    assert {f"{explainer}/detection"} == {row["component"] for row in requests}
    message = [request.messages[-1].text for request in reader.asked]
    assert (explainer == "e") == any("on sea" in text for text in message)


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
