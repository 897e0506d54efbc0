"""Which of a prompt's tokens a stretch at its end consists of, found from the texts that servers give for tokens.

Servers say what a token's text is and not where it lies, and the text is reliable for ASCII alone: of a character
that is split over tokens one server sends replacement signs, another nothing and then all of it, and some tokenizers
drop a leading space. So tokens are followed by their ASCII characters but for spaces, and from the end of the prompt,
because vLLM sends no text for the first token.
"""

from collections.abc import Sequence

from tasks.llm.request import TokenLogprob, Unreadable

_LAST_ASCII = 0x7F


def skeleton(text: str) -> str:
    """What of a text every server gives back as it was: its ASCII characters, without spaces."""
    return "".join(sign for sign in text if ord(sign) <= _LAST_ASCII and sign != " ")


def tokens_from(prompt: str, start: int, tokens: Sequence[TokenLogprob]) -> Sequence[TokenLogprob]:
    """The tokens that hold anything of `prompt[start:]`.

    A token that straddles the start is one of them. The character before the start must be ASCII and no space.
    Raises `Unreadable` when the tokens don't spell the end of the prompt.
    """
    left = skeleton(prompt[start:])
    for place in reversed(range(len(tokens))):
        text = tokens[place].token
        piece = skeleton(text)
        if not left and piece:
            goes_on = not text.endswith(piece[-1])
            return tokens[place:] if goes_on else tokens[place + 1 :]
        if left and len(piece) > len(left) and piece.endswith(left):
            return tokens[place:]
        if not left.endswith(piece):
            msg = f"the tokens that the server names don't spell the prompt: {text!r} before {left[-20:]!r}"
            raise Unreadable(msg)
        left = left[: len(left) - len(piece)]
    msg = f"the tokens that the server names don't reach back to the text in question: {left[-20:]!r} is left"
    raise Unreadable(msg)
