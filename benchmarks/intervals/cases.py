"""What is simulated: how many contexts in how many questions, effects of questions and windows, true values."""

from dataclasses import dataclass
from itertools import product
from math import asin, ceil, pi, sin
from typing import Literal

from benchmarks.report import Bound

WITHIN = 0.2
"""Correlation of two verdicts that share an effect where a reader says yes to half of the contexts."""
LATENT = sin(WITHIN * pi / 2)
"""Correlation of the normal deviates behind them (Sheppard 1899)."""
DENSITY = 0.04
"""Share of the windows in which a simulated feature fires."""

FEW = 50
"""Verdicts of a design that is small."""
FEW_QUESTIONS = 5
"""Of a class: so few hardly tell how questions differ, and intervals allow for verdicts of one that are alike."""

LEAST_MEAN, GREATEST_MEAN, LEAST = "least mean coverage", "greatest mean coverage", "least coverage"
GREATEST_MEAN_FEW = "greatest mean coverage from few questions"
BOUNDS = {
    LEAST_MEAN: Bound(at_most=False, value=0.93),
    GREATEST_MEAN: Bound(at_most=True, value=0.97),
    GREATEST_MEAN_FEW: Bound(at_most=True, value=0.985),
    LEAST: Bound(at_most=False, value=0.90),
}
"""Of coverage, whose mean is that over true values, by the name of their figure."""

EFFECTS = {
    "independent": "each verdict by itself",
    "shared bias": "in some questions the reader says yes more often, in others less",
    "shared skill": "in some questions the reader is good at it, in others bad",
}
"""Of questions on the verdicts of a reader."""


@dataclass(frozen=True)
class Design:
    """How a feature is judged."""

    name: str
    positives: int
    negatives: int
    shown: int
    """Contexts per question."""
    kind: str = "verdicts"
    """`verdicts` with probabilities, `values`, `choices` or `simulations`."""
    windows: Literal["", "shared bias", "shared skill"] = ""
    """Effect that the two verdicts on each window share, which is judged in both classes, as with `marks: active`;
    empty where each context is judged once."""
    adaptive: bool = False
    """Whether asking stops as soon as the score is known well enough, with the defaults of `adaptive`."""

    @property
    def contexts(self) -> int:
        """Of both classes."""
        return self.positives + self.negatives

    @property
    def small(self) -> bool:
        """Whether it has so few verdicts that their discreteness shows, and simulating many of it is cheap."""
        return self.kind == "verdicts" and self.contexts <= FEW

    @property
    def few_questions(self) -> bool:
        """Whether a class has few questions, with several contexts each: its intervals are then too wide."""
        of_class = min(filter(None, (self.positives, self.negatives)))
        return self.shown > 1 and min(of_class, ceil(self.contexts / self.shown)) <= FEW_QUESTIONS

    @property
    def effects(self) -> tuple[str, ...]:
        """Those that can make a difference: where each context has its own question there is none."""
        if self.kind == "simulations":
            return ("independent", "shared skill")
        return tuple(EFFECTS) if self.shown > 1 else ("independent",)


DESIGNS = (
    Design("100 + 100 in 40 questions", 100, 100, 5),
    Design("50 + 50 in 20 questions", 50, 50, 5),
    Design("100 + 100, adaptive", 100, 100, 5, adaptive=True),
    Design("100 windows twice, with shared bias", 100, 100, 5, windows="shared bias"),
    Design("100 windows twice, with shared skill", 100, 100, 5, windows="shared skill"),
    Design("20 + 180 in 40 questions", 20, 180, 5),
    Design("5 + 45 in 10 questions", 5, 45, 5),
    Design("7 + 13 in 4 questions", 7, 13, 5),
    Design("7 + 13 in 20 questions", 7, 13, 1),
    Design("20 choices", 20, 0, 1, kind="choices"),
    Design("10 + 10 values", 10, 10, 1, kind="values"),
    Design("7 + 13 values", 7, 13, 1, kind="values"),
    Design("5 + 45 values", 5, 45, 1, kind="values"),
    Design("20 + 180 values", 20, 180, 1, kind="values"),
    Design("20 + 20 values", 20, 20, 1, kind="values"),
    Design("100 + 100 values", 100, 100, 1, kind="values"),
    Design("10 + 10 simulated contexts", 10, 10, 1, kind="simulations"),
    Design("50 + 50 simulated contexts", 50, 50, 1, kind="simulations"),
)


@dataclass(frozen=True)
class Size:
    """One size of the benchmark."""

    features: int
    """Of each pair of true recall and specificity."""
    shares: tuple[float, ...]
    """True values of either."""
    designs: tuple[Design, ...] = DESIGNS
    small: "Size | None" = None
    """For small designs, where it is another."""

    def of(self, design: Design) -> "Size":
        """For this design."""
        return self.small if self.small and design.small else self

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Of recall and specificity."""
        return list(product(self.shares, self.shares))


SIZES = {
    "quick": Size(100, (0.05, 0.5, 0.95)),
    "full": Size(
        300,
        (0.05, 0.2, 0.5, 0.8, 0.95),
        small=Size(1000, (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)),
    ),
}


def within(latent: float) -> float:
    """Correlation of two verdicts of which half are yes, from that of the deviates behind them."""
    return 2 / pi * asin(latent)
