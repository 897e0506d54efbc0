"""Special tokens of the subject's tokenizer in contexts: one neutral sign stands for them, and the question says so.

By their own names (`<|im_end|>`, `<eos>`) they would be words of the text to a reader, and control tokens to a server.
They are not left out where a reader sees tokens, since a feature may fire on them; raw text has a line break instead.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.contexts.control_tokens import is_known

SIGN = "␞"
"""U+241E, which no corpus has as text and no tokenizer as a control token."""

NOTE = f"{SIGN} stands for a special token, which is no text: an end of a document or a chat turn, or a separator."


class SpecialTokens(NamedTuple):
    """Which strings of tokens are special."""

    names: frozenset[str] | None
    """Null where the tokenizer's files don't say: then by their form (`tasks/contexts/control_tokens.py`)."""

    def shown(self, string: str) -> str:
        """A token's text, or the sign. Some tokenizers join a space to a special token."""
        special = is_known(string) if self.names is None else string.strip() in self.names
        return SIGN if special else string


NONE = SpecialTokens(frozenset())
"""Of a tokenizer without any."""


def noted(question: str) -> str:
    """The question, with a word on the sign before it where it has any."""
    return f"{NOTE}\n\n{question}" if SIGN in question else question


def raw(strings: Sequence[str]) -> str:
    """The text of tokens as nothing but text: a line break where special tokens part it; the sign if that is all."""
    if SIGN not in strings:
        return "".join(strings)
    stretches = [""]
    for string in strings:
        if string == SIGN:
            stretches.append("")
        else:
            stretches[-1] += string
    return "\n".join(filter(None, stretches)) or SIGN
