"""Words, pieces of words and their forms, as the baseline reader distinguishes them.

Pieces are written as in linguistics: `un-` begins a word, `-ing` ends one, `-ta-` stands inside, `the` is whole.
"""

import re
from collections.abc import Callable
from functools import cache

from tasks.contexts.special_tokens import SIGN

WORD = re.compile(r"[A-Za-z]+|\d+|⏎|[^\sA-Za-z\d]")
"""What counts as one word: letters, a number, a line break, or a single sign."""

COMMON = frozenset(
    """a about after all also an and any are as at be been before but by can could did do does for from had has
    have he her him his i if in into is it its me more my no not of on one only or other our out over said shall
    she so some such than that the thee their them then there these they this thou thy to unto up upon us was we
    were what when which who will with would ye you your s t bos eos""".split()
)
"""Words so frequent in English text that they say little about its subject."""

FORMS: dict[str, Callable[[str], bool]] = {
    "special tokens": lambda word: word == SIGN,
    "numbers": str.isdecimal,
    "line breaks": lambda word: word == "⏎",
    "words in capitals": lambda word: len(word) > 1 and word.isupper(),
    "capitalised words": lambda word: len(word) > 1 and word.istitle(),
}
"""Forms that a description can name: the name of each and its test for one word."""


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def cased_words(text: str) -> list[str]:
    """The words of a text in their original case."""
    return WORD.findall(text)


def form(marks: list[str]) -> str | None:
    """The form that at least three quarters of the words have in common; None if there is none."""
    for name, fits in FORMS.items():
        if marks and 4 * sum(fits(mark) for mark in marks) >= 3 * len(marks):
            return name
    return None


def as_piece(token: str, before: str, after: str) -> str:
    """A token as a piece, hyphenated by the characters right before and after it; empty for white space."""
    core = token.strip().lower()
    if not core.isalpha():
        return core
    joined = token[0].isalpha() and before.isalpha()
    return f"{'-' if joined else ''}{core}{'-' if after.isalpha() else ''}"


@cache
def pattern(piece: str) -> re.Pattern[str]:
    """A pattern that finds a word, or a piece in the position that its hyphens state; ignores case."""
    core = piece.strip("-")
    if not core.isalpha():
        return re.compile(re.escape(piece), re.IGNORECASE)
    left = "(?<=[^\\W\\d_])" if piece.startswith("-") else "(?<![^\\W\\d_])"
    right = "(?=[^\\W\\d_])" if piece.endswith("-") else "(?![^\\W\\d_])"
    return re.compile(f"{left}{re.escape(core)}{right}", re.IGNORECASE)
