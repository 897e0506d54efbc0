"""What is asked: windows of made-up words and an explanation, the same for every system. Standard library only."""

import json
import random

WORDS = [
    f"{first}{rest}"
    for first in "bcdfglmnprstvw"
    for rest in ("and", "ed", "ing", "o", "ow", "ay", "ept", "une")
]
TOKENS = 32
"""Tokens per window, as gloss samples them."""
SHOWN = 5
"""Windows per question, where nothing else is said."""
EXPLANATION = (
    "Words for moving through water, most often the verb itself, and at times the vessel that moves."
)


def answer(shown: int) -> str:
    """What the endpoint always says about so many windows: a verdict on each; of one the verdict alone."""
    return "1" if shown == 1 else json.dumps([1 - place % 2 for place in range(shown)])


def windows(question: int) -> list[list[str]]:
    """The tokens of the windows of one question; the same question has the same ones."""
    draw = random.Random(question)  # noqa: S311  (text, not a secret)
    return [[f" {word}" for word in draw.choices(WORDS, k=TOKENS)] for _ in range(SHOWN)]
