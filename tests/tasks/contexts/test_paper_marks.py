"""The marks of the paper's code are where delphi has them."""

import random

from tasks.contexts import render
from tasks.contexts.context import context
from tasks.contexts.paper_marks import PaperMarks


def test_the_paper_marks_as_many_as_positives_have_firing_tokens() -> None:
    """The mean over positives, rounded up, at places that depend on the seed and the window's length alone."""
    positives = [
        context("a:9|b:1|c|d|e|f|g|h"),
        context("a:9|b:1|c:1|d|e|f|g|h"),
        context("a:9|b|c|d|e|f|g|h"),
    ]
    paper = PaperMarks.of(positives, 22)
    assert 2 == paper.number
    windows = [context("s|t|u|v|w|x|y|z", number) for number in range(5)]
    (places,) = {paper.wrong_marks(window) for window in windows}
    assert 6 in places
    rest = [0, 1, 2, 3, 4, 5, 7]
    assert tuple(sorted([6, *random.Random(22).sample(rest, 1)])) == places
    assert 1 < len({PaperMarks(2, seed).wrong_marks(windows[0]) for seed in range(9)})


def test_the_paper_marks_weak_firings_wrongly_too() -> None:
    """What does not lie above 0.3 of the peak; correctly what reaches it."""
    window = context("a:10|b:3|c:2|d")
    assert (0, 1) == PaperMarks.correct_marks(window)
    assert (0,) == render.strongest(window)
    assert (1, 2, 3) == PaperMarks(9, 22).wrong_marks(window)
    assert (3,) == PaperMarks(1, 22).wrong_marks(window)
    assert () == PaperMarks(2, 22).wrong_marks(context("a:9|b:8"))
