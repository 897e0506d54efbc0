"""How the baseline reader judges: does an example show what a description names?"""

from tasks.contexts.render import Shown
from tasks.llm.embedded.describe import Description
from tasks.llm.embedded.words import COMMON, FORMS, spelled, words

ENOUGH = 1.0
"""Evidence from which on an example fits."""


def verdicts(description: Description, examples: list[Shown]) -> list[int]:
    """1 or 0 for each example: marked ones by their marked words, plain ones by all they contain."""
    return [int(_fits(description, example)) for example in examples]


def _fits(description: Description, example: Shown) -> bool:
    if example.marked:
        fitting = sum(_marked_fits(description, span) for span in example.marked)
        return 2 * fitting >= len(example.marked)
    return _evidence(description, words(example.text)) >= ENOUGH


def _marked_fits(description: Description, span: str) -> bool:
    if any(word in description.tokens for word in words(span)):
        return True
    fits = FORMS.get(description.form or "")
    return fits is not None and any(fits(word) for word in spelled(span))


def _evidence(description: Description, text: list[str]) -> float:
    """Weights of the named words that occur: an uncommon token is enough, a common one needs its surroundings."""
    found = 0.0
    for i, word in enumerate(text):
        if word not in description.tokens:
            continue
        left = text[i - 1] if i else ""
        right = text[i + 1] if i + 1 < len(text) else ""
        beside = (left in description.before) + (right in description.after)
        found = max(found, (0.4 if word in COMMON else 1.0) + 0.4 * beside)
    themes = sum(0.3 for theme in description.themes if theme in text)
    return found + min(themes, 0.9)
