"""How the baseline reader chooses: the example that shows most of a description, or the one unlike the others."""

from tasks.contexts.render import Shown
from tasks.llm.embedded.describe import Description
from tasks.llm.embedded.judge import evidence
from tasks.llm.embedded.words import COMMON, words

MARKS, SIDES, TEXT = 1.0, 0.5, 0.5
"""Weights of what two examples have in common in their marked words, beside them, and anywhere."""


def described(description: Description, examples: list[Shown]) -> int:
    """The number of the example that shows most of what a description names; the first of several that do."""
    found = [evidence(description, example.text) for example in examples]
    return found.index(max(found)) + 1


def intruder(examples: list[Shown]) -> int:
    """The number of the example that has least in common with the others; the first of several that have."""
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


def _overlap(one: set[str], other: set[str]) -> float:
    """Jaccard index; 0 for two empty sets."""
    return len(one & other) / max(1, len(one | other))
