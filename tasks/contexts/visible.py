"""Tokens as a reader sees them: signs for characters that show nothing, and tokens that show a character together.

Byte-level tokenizers split many characters (Chinese, emoji, Arabic) over several tokens; the last of these has the
character as its text, the others have none (`tasks/activations/tokenise.py`). What is said of any of them is shown on
the whole character.
"""

from collections.abc import Sequence
from unicodedata import category

from tasks.contexts import special_tokens

NEWLINE, TAB, RETURN = "⏎", "⇥", "␍"
"""Stand for a line break, so that every context is one line; for a tab; and for a carriage return."""

NOTES = {
    special_tokens.SIGN: special_tokens.NOTE,
    TAB: f"{TAB} stands for a tab.",
    RETURN: f"{RETURN} stands for a carriage return.",
}
"""Explain signs where they occur, which is seldom; prompts themselves explain the line break."""

_PICTURES = 0x2400
"""First of Unicode's signs for the control characters of ASCII, which follow in their order."""

_PLAIN = str.maketrans(
    {code: chr(_PICTURES + code) for code in range(0x20)}
    | dict.fromkeys(range(128, 160), "�")
    | dict.fromkeys("\x85\u2028\u2029", "␤")
    | {"\n": NEWLINE, "\t": TAB, "\r": RETURN, "\x7f": "␡"}
)
_MODIFIERS = ("Cf", "Mn", "Mc", "Me")
"""Categories of characters that show nothing, or something only together with the character before them."""


def plain(string: str) -> str:
    """Text on one line, in which control characters show."""
    # Most tokens need no sign, which is seen five times as fast as they are translated.
    return string if string.isprintable() else string.translate(_PLAIN)


def shown_together(strings: Sequence[str]) -> list[slice]:
    """Runs of tokens that show something only together, in their order; most are of one token.

    A token without text belongs to the next one that has some. One with nothing but accents, joiners of emoji and other
    modifiers belongs to the token before it. Tokens at the end whose character lies beyond it are in no run.
    """
    if all(strings) and all(map(str.isascii, strings)):
        return [slice(place, place + 1) for place in range(len(strings))]
    runs: list[slice] = []
    start = 0
    for end, string in enumerate(map(plain, strings), start=1):
        if string.isascii() or not all(category(character) in _MODIFIERS for character in string):
            if string:
                runs.append(slice(start, end))
                start = end
        elif runs:
            runs[-1] = slice(runs[-1].start, end)
            start = end
    return runs


def noted(question: str, *more: str) -> str:
    """The question, with a line before it on each sign that it or the texts in `more` have."""
    notes = [note for sign, note in NOTES.items() if any(sign in text for text in (question, *more))]
    return "\n\n".join(["\n".join(notes), question]) if notes else question
