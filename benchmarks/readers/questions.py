"""What is asked: windows of made-up words and an explanation, the same for every system. Standard library only."""

import random

WORDS = [
    f"{first}{rest}"
    for first in "bcdfglmnprstvw"
    for rest in ("and", "ed", "ing", "o", "ow", "ay", "ept", "une")
]
TOKENS = 32
"""Tokens per window, as gloss samples them."""
SHOWN = 5
"""Windows per question."""
EXPLANATION = (
    "Words for moving through water, most often the verb itself, and at times the vessel that moves."
)
ANSWER = "[1, 0, 1, 0, 1]"
"""What the endpoint always says: a verdict on each window."""


def windows(question: int) -> list[list[str]]:
    """The tokens of the windows of one question; the same question has the same ones."""
    draw = random.Random(question)  # noqa: S311  (text, not a secret)
    return [[f" {word}" for word in draw.choices(WORDS, k=TOKENS)] for _ in range(SHOWN)]
