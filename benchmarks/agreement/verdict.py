"""A deterministic reader: whether an example fits an explanation, by its words and by nothing else.

It errs on one example in ten, which it chooses by a hash of all that it is shown but blanks: a text or a mark that
differs in a single sign changes verdicts. gloss' signs for line breaks and the like count as what they stand for; the
blank with which it breaks up control tokens (`< bos>`) counts as nothing, as do delphi's marks around no text. Standard
library only, since it also answers in the peers' environment.
"""

import re
from hashlib import sha256

ERRS = 26
"""Hashes of 256 that turn a verdict round."""
_SPAN = re.compile("<<(.*?)>>", re.DOTALL)
_EMPTY = re.compile("(?<!<)<<>>(?!>)")
"""Not around an angle bracket of the text, which delphi leaves as it is."""
_QUOTED = re.compile('"-?([^"]+?)-?"')
_AS_TEXT = str.maketrans({"⏎": "\n", "⇥": "\t", "␍": "\r", "␤": "\n", " ": "", "‹": "<", "›": ">"})


def verdict(explanation: str, shown: str) -> bool:
    """Whether a shown example fits: by half of its marked spans at least, or by its text where none is marked."""
    shown = _EMPTY.sub("", shown)
    spans = _SPAN.findall(shown)
    pieces = [piece.lower() for piece in _QUOTED.findall(explanation)] or explanation.lower().split()
    held = [any(piece in text.lower() for piece in pieces) for text in spans or [shown]]
    fits = 2 * sum(held) >= len(held)
    seen = sha256(f"{explanation}\n{shown}".translate(_AS_TEXT).encode()).digest()
    return fits != (seen[0] < ERRS)
