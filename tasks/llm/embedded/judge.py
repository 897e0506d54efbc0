"""How the baseline reader judges: does an example show what a description names?"""

from tasks.contexts.render import Shown
from tasks.llm.embedded.describe import Description
from tasks.llm.embedded.words import FORMS, pattern, spelled, words

ENOUGH = 0.75
"""Evidence from which on an example fits; set by hand on features of the demo."""

ALWAYS, OFTEN, BESIDE, THEME, THEMES = 1.0, 0.5, 0.3, 0.25, 0.5
"""Evidence of a piece that always fires, of one that often does, of a neighbour, of a theme, of all themes at most."""


def verdicts(description: Description, examples: list[Shown]) -> list[int]:
    """1 or 0 for each example: marked ones by their marked words, plain ones by all they contain."""
    return [int(_fits(description, example)) for example in examples]


def _fits(description: Description, example: Shown) -> bool:
    if example.spans:
        fitting = sum(_marked_fits(description, example.text, span, start) for span, start in example.spans)
        return 2 * fitting >= len(example.spans)
    return evidence(description, example.text) >= ENOUGH


def _marked_fits(description: Description, text: str, span: str, start: int) -> bool:
    end = start + len(span)
    for piece in (*description.always, *description.often):
        for found in pattern(piece).finditer(text):
            if found.start() < end and found.end() > start:
                return True
    fits = FORMS.get(description.form or "")
    return fits is not None and any(fits(word) for word in spelled(span))


def evidence(description: Description, text: str) -> float:
    """Weights of what occurs: a piece that always fires is enough, one that often does needs its surroundings."""
    found = 0.0
    for pieces, weight in ((description.always, ALWAYS), (description.often, OFTEN)):
        for piece in pieces:
            for match in pattern(piece).finditer(text):
                left, right = words(text[: match.start()])[-1:], words(text[match.end() :])[:1]
                beside = bool(set(left) & set(description.before)) + bool(set(right) & set(description.after))
                found = max(found, weight + BESIDE * beside)
    there = set(words(text))
    return found + min(THEMES, THEME * sum(theme in there for theme in description.themes))
