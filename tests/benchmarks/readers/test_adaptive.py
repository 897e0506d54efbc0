"""Recorded judgements, asked for again in rounds."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.readers.adaptive import (
    WANTED,
    Answers,
    balanced_accuracy,
    figures,
    in_rounds,
    recorded,
    replay,
    some_of,
)
from storage.errors import WrongRequest
from tasks.scorers.ask import Adaptive
from tasks.scorers.base import Judgement
from tests.storage.made import SCORERS, made


def answers(rate: float, seed: int = 0, questions: int = 40) -> Answers:
    """Forty questions about five contexts each, rightly judged at a rate."""
    draw = np.random.default_rng(seed)
    return {
        f"{seed}/0/none/{number}": [
            Judgement(5 * number + place, bool(place % 2), bool(place % 2) == (draw.random() < rate))
            for place in range(5)
        ]
        for number in range(questions)
    }


def test_clear_explanations_take_fewer_questions() -> None:
    """And end with nearly the score of all questions."""
    clear, unclear = in_rounds(answers(1.0), Adaptive()), in_rounds(answers(0.5), Adaptive())
    assert clear.asked < unclear.asked <= 40
    assert (1.0, 1.0) == (clear.score, clear.final)
    assert unclear.score == pytest.approx(unclear.final, abs=0.1)


def test_all_questions_give_the_final_score() -> None:
    """A width that nothing reaches before the end saves nothing and changes nothing."""
    result = in_rounds(answers(0.7), Adaptive(half_width=1e-9))
    assert (40, 40, result.final) == (result.asked, result.questions, result.score)
    assert result == some_of(answers(0.7), 1.0)


def test_a_replay_says_what_is_saved_and_what_it_costs() -> None:
    """The share of questions, and the rank correlation with the scores of all."""
    explanations = [answers(0.5 + seed / 100, seed) for seed in range(50)]
    result = replay("detection", explanations, Adaptive(half_width=0.15))
    outcomes = [in_rounds(explanation, Adaptive(half_width=0.15)) for explanation in explanations]
    assert sum(explanation.asked for explanation in outcomes) / 2000 == result.share < 1
    assert 0.8 < result.agreement.value < 1
    assert 0.8 < result.even.value < 1
    whole = replay("detection", explanations, Adaptive(half_width=1e-9))
    assert (1.0, pytest.approx(1.0), pytest.approx(1.0)) == (
        whole.share,
        whole.agreement.value,
        whole.even.value,
    )


def test_a_score_needs_both_classes() -> None:
    """A failed judgement is none."""
    assert balanced_accuracy([Judgement(0, True, True), Judgement(1, False)]) is None
    assert 0.5 == balanced_accuracy([Judgement(0, True, True), Judgement(1, False, True)])


def test_judgements_are_read_from_a_run(tmp_path: Path) -> None:
    """Own explanations only, by scorer; the figures are those of a setting that ranks as wanted."""
    lake = made(f"{tmp_path}/lake")

    result = recorded(lake, "made")
    named, half_width = figures(lake, "made")

    assert set(SCORERS) == set(result)
    assert 30 == len(result["detection"])
    assert ["adaptive_requests_share", "adaptive_spearman", "even_spearman"] == [
        figure.name for figure in named
    ]
    assert 0 < half_width <= 0.2
    assert named[1].low >= WANTED or half_width == 0.03


def test_a_run_without_verdicts_is_refused(tmp_path: Path) -> None:
    """It says which scorers are needed."""
    with pytest.raises(WrongRequest, match="detection or fuzzing"):
        figures(made(f"{tmp_path}/lake", scorers=()), "made")
