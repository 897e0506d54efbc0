"""The baseline reader's verdicts and choices.

`verdicts` decides for each example whether it fits a description; `described` chooses the example that fits a
description best, and `intruder` the one that differs most from the others.
"""

from tasks.contexts.render import Shown
from tasks.llm.baseline.describe import Description
from tasks.llm.baseline.words import COMMON, FORMS, cased_words, pattern, words

ENOUGH = 0.75
"""Least evidence with which an example fits; set by hand on features of tests/toy."""

ALWAYS, OFTEN, BESIDE, THEME, THEMES = 1.0, 0.5, 0.3, 0.25, 0.5
"""Evidence for a piece that always fires, one that often fires, a neighbour, a theme, and all themes at most."""


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
        for match in pattern(piece).finditer(text):
            if match.start() < end and match.end() > start:
                return True
    fits = FORMS.get(description.form or "")
    return fits is not None and any(fits(word) for word in cased_words(span))


def evidence(description: Description, text: str) -> float:
    """Sum of the weights: a piece that always fires is enough, one that often fires needs neighbours or themes."""
    strongest = 0.0
    for pieces, weight in ((description.always, ALWAYS), (description.often, OFTEN)):
        for piece in pieces:
            for match in pattern(piece).finditer(text):
                left, right = words(text[: match.start()])[-1:], words(text[match.end() :])[:1]
                beside = bool(set(left) & set(description.before)) + bool(set(right) & set(description.after))
                strongest = max(strongest, weight + BESIDE * beside)
    there = set(words(text))
    return strongest + min(THEMES, THEME * sum(theme in there for theme in description.themes))


MARKS, SIDES, TEXT = 1.0, 0.5, 0.5
"""Weights of the overlap of two examples in marked words, in their neighbours, and in the whole text."""


def described(description: Description, examples: list[Shown]) -> int:
    """The number (from 1) of the example that fits a description best; the first of several equal ones."""
    weights = [evidence(description, example.text) for example in examples]
    return weights.index(max(weights)) + 1


def intruder(examples: list[Shown]) -> int:
    """The number (from 1) of the example that has least in common with the others; the first of several equal ones."""
    traits = [_traits(example) for example in examples]
    common = [
        sum(
            weight * _overlap(own[name], other[name])
            for other in traits[:place] + traits[place + 1 :]
            for name, weight in (("marks", MARKS), ("sides", SIDES), ("text", TEXT))
        )
        for place, own in enumerate(traits)
    ]
    return common.index(min(common)) + 1


def _traits(example: Shown) -> dict[str, set[str]]:
    marks = {word for span, _ in example.spans for word in words(span)}
    sides: set[str] = set()
    for span, start in example.spans:
        before, after = words(example.text[:start]), words(example.text[start + len(span) :])
        sides |= {f"{word} _" for word in before[-1:]} | {f"_ {word}" for word in after[:1]}
    return {
        "marks": marks,
        "sides": sides,
        "text": {word for word in words(example.text) if word.isalpha() and word not in COMMON},
    }


def _overlap(first: set[str], other: set[str]) -> float:
    """Jaccard index; 0 for two empty sets."""
    return len(first & other) / max(1, len(first | other))
