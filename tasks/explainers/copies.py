"""Explanations that repeat an example answer of the prompt instead of saying anything of the feature.

Small readers do: one with 0.5 billion parameters gave the same few-shot answer for every feature. Compared are words in
their order, whatever their case and the punctuation: the share of an example's words that an explanation has, by the
longest common subsequence, so that nothing put in between, before or after hides a copy.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

COPIED = 0.85
"""Share of an example's words from which on an explanation repeats it. Genuine explanations of what the few-shot
features respond to share 0.62 of a whole answer and 0.83 of a part of one at most; an answer with two of its words
exchanged has more than this (`tests/tasks/explainers/test_copies.py` has both)."""
FEWEST_WORDS = 11
"""Of an example that is compared: shorter ones, such as "ordinal numbers", say what anybody may say."""

_WORD = re.compile(r"[^\W_]+")


def repeated(text: str, examples: Iterable[str]) -> str | None:
    """The first of the examples that a text repeats; null where it repeats none."""
    said = words(text)
    return next((example for example in examples if share(words(example), said) >= COPIED), None)


def words(text: str) -> list[str]:
    """The words of a text, in one letter case and one spelling of their characters."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def share(example: Sequence[str], said: Sequence[str]) -> float:
    """The share of an example's words that come back in their order; 0 for examples of fewer than `FEWEST_WORDS`."""
    if len(example) < FEWEST_WORDS:
        return 0.0
    lengths = [0] * (len(said) + 1)
    for word in example:
        before = lengths.copy()
        for place, other in enumerate(said, start=1):
            lengths[place] = (
                before[place - 1] + 1 if word == other else max(before[place], lengths[place - 1])
            )
    return lengths[-1] / len(example)
