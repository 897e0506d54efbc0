"""Probabilities of digits in replies, and the log-probabilities of a stretch at the end of a prompt (paper, D.1).

A digit may share its token with blanks, brackets and commas, and so may the alternatives: all that mean the same digit
are summed. They are the server's: after a mask of structured output they are shares among what the mask allowed.

Servers name a token's text but not its place, and the text is reliable for ASCII alone: of a character that is split
over tokens one server sends replacement signs, another nothing and then all of it, and some tokenizers drop a leading
space. So tokens are matched by their ASCII characters without spaces, from the end of the prompt, because vLLM sends no
text for the first token.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import exp

from tasks.llm.request import Reply, TokenLogprob, Unreadable
from tasks.scorers.reply_text import Stated

_LAST_ASCII = 0x7F


def skeleton(text: str) -> str:
    """The part of a text that every server returns unchanged: its ASCII characters without spaces."""
    return "".join(sign for sign in text if ord(sign) <= _LAST_ASCII and sign != " ")


def tokens_from(prompt: str, start: int, tokens: Sequence[TokenLogprob]) -> Sequence[TokenLogprob]:
    """The tokens that overlap `prompt[start:]`.

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


ALTERNATIVES = 5
"""Alternatives asked for at every token (the paper's; some servers allow no more)."""

_DIGIT = re.compile(r"(?<![0-9])[0-9](?![0-9])")


def place_of(answer: Stated, reply: Reply, key: str) -> int:
    """Offset of an answer, in characters, in the text that the tokens of a reply spell.

    Tokens may spell more than the reply's text, such as thoughts before it and the end of the turn: the place is
    counted from the end, by what is written like the answer. Raises `Unreadable` when the server gave no tokens, or
    others.
    """
    if not reply.completion:
        msg = f"no log-probabilities came with the reply to {key}; ask a server that gives them, or set logprobs: false"
        raise Unreadable(msg)
    spelled = "".join(token.token for token in reply.completion)
    place = len(spelled)
    for _ in range(1 + answer.after.count(answer.value)):
        place = spelled.rfind(answer.value, 0, place)
        if place < 0:
            msg = f"the tokens that came with the reply to {key} don't spell its answer {answer.value!r}"
            raise Unreadable(msg)
    return place


def probabilities(reply: Reply, places: Iterable[int], allowed: Sequence[str]) -> list[dict[str, float]]:
    """Shares of the allowed digits at each place, counted in characters of what the tokens spell; they sum to 1.

    A digit that is not among the alternatives has the share 0. Raises `Unreadable` when all have.
    """
    starts = [0, *accumulate(len(token.token) for token in reply.completion)]
    shares = []
    for place in places:
        number = next(i for i, end in enumerate(starts[1:]) if end > place)
        weights = _weights(reply.completion[number], place - starts[number], allowed)
        total = sum(weights.values())
        if not total > 0:
            msg = f"none of {', '.join(allowed)} is probable at token {number} of the reply"
            raise Unreadable(msg)
        shares.append({digit: weight / total for digit, weight in weights.items()})
    return shares


def _weights(token: TokenLogprob, offset: int, allowed: Sequence[str]) -> dict[str, float]:
    """Probability of each allowed digit where the one at `offset` stands, given the digits before it in the token."""
    before = _DIGIT.findall(token.token[:offset])
    own = {} if token.logprob is None else {token.token: token.logprob}
    weights = dict.fromkeys(allowed, 0.0)
    for alternative, logprob in (own | token.top).items():
        digits = _DIGIT.findall(alternative)
        if digits[: len(before)] == before and len(digits) > len(before) and digits[len(before)] in weights:
            weights[digits[len(before)]] += exp(logprob)
    return weights
