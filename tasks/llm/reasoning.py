"""What of a reply is its answer: the part after the thoughts that reasoning models write first.

Most servers take thoughts out of the reply; those without a reasoning parser for the model, and models that are told
to think by a prompt, leave them in. All that reads a reply reads its `answer`:

    answer(Reply("<think>Nouns? No.</think>EXPLANATION: Verbs."), "7/0")  # "EXPLANATION: Verbs."
"""

import re
from collections.abc import Collection, Sequence
from itertools import accumulate

from tasks.llm.request import QUOTE_LENGTH, Reply, TokenLogprob, Unreadable, quote_reply

_NAMES = "(?:seed:)?think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis"
"""As DeepSeek, Qwen, Seed, EXAONE and those name it that a prompt has asked for thoughts."""
_CHANNEL = r"(?:<\|start\|>assistant)?<\|channel\|>"
"""Of gpt-oss."""
_OPENING = re.compile(
    rf"<(?:{_NAMES})\s*>|\[THINK\]|◁think▷|<\|(?:START_THINKING|begin_of_thought)\|>"
    rf"|{_CHANNEL}(?:analysis|commentary)\b[^<\n]*<\|message\|>",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"</(?:{_NAMES})\s*>|\[/THINK\]|◁/think▷|<\|(?:END_THINKING|end_of_thought)\|>"
    rf"|{_CHANNEL}final\b[^<\n]*<\|message\|>|assistantfinal",
    re.IGNORECASE,
)
_BARE = re.compile(r"\s*analysis(?=[A-Z])")
"""How gpt-oss begins, and `assistantfinal` how its thoughts end, where a server leaves out its control tokens."""
_MARKS = r"<\|(?:START_RESPONSE|END_RESPONSE|begin_of_solution|end_of_solution|return|end)\|>"
_MARKED = re.compile(rf"(?:\s*{_MARKS})?(?P<inside>.*?)(?:{_MARKS}\s*)?", re.DOTALL)
_WRAPPED = re.compile(
    r"\s*<(?P<name>answer|response|output|solution|final)>(?P<inside>.*?)(?:</(?P=name)>\s*)?",
    re.DOTALL | re.IGNORECASE,
)
_QUOTES = tuple("\"'`\u201c\u201d\u2018\u2019\xab\xbb")


def answer(reply: Reply, key: str) -> str:
    """The text after the thoughts of a reply to the request with this key; all of it where there are none.

    Thoughts begin with an opening tag at the start of a line and end with the last closing tag that is no quotation;
    one without an opening tag ends them too, since some chat templates put that into the prompt. Raises `Unreadable`
    where they do not end, or nothing follows them.
    """
    start = _start(reply.text)
    if start is None:
        where = "at max_tokens; raise it" if reply.finish_reason == "length" else "which it never ends"
        start_of_reply = " ".join(reply.text.split())[:QUOTE_LENGTH]
        msg = f"the reply to {key} was cut off inside its thoughts, {where} ({start_of_reply!r})"
        raise Unreadable(msg)
    text = reply.text[start:]
    if not text.strip():
        if start:
            msg = f"nothing follows the thoughts in the reply to {key} ({quote_reply(reply)})"
            raise Unreadable(msg)
        if reply.finish_reason == "length":
            msg = (
                f"the reply to {key} was cut off at max_tokens before its answer began, as happens inside thoughts "
                "that the server keeps back; raise it"
            )
            raise Unreadable(msg)
    return _unwrapped(text)


def tokens(reply: Reply) -> Sequence[TokenLogprob]:
    """The generated tokens after the thoughts, which a server may have left out of the text; none if they don't end."""
    start = _start("".join(token.token for token in reply.completion))
    if start is None:
        return ()
    ends = accumulate(len(token.token) for token in reply.completion)
    return [token for token, end in zip(reply.completion, ends, strict=True) if end > start]


def _start(text: str) -> int | None:
    """Where the answer begins; None where thoughts are still open at the end."""
    closed = [tag for tag in _CLOSING.finditer(text) if _ends_thoughts(text, tag)]
    if not closed and any(not text[:begin].strip() for begin in _opened(text)):
        # What looks like a quotation ends them where nothing else does.
        closed = list(_CLOSING.finditer(text))
    start = closed[-1].end() if closed else 0
    return None if any(begin >= start for begin in _opened(text)) else start


def _opened(text: str) -> list[int]:
    """Where thoughts begin: at the start of a line, or right after a closing tag."""
    closed = {tag.end() for tag in _CLOSING.finditer(text)}
    starts = [tag.start() for tag in _OPENING.finditer(text) if _begins_line(text, tag.start(), closed)]
    return [0, *starts] if _BARE.match(text) else starts


def _begins_line(text: str, place: int, closed: Collection[int]) -> bool:
    while place and text[place - 1] in " \t":
        place -= 1
    return not place or text[place - 1] == "\n" or place in closed


def _ends_thoughts(text: str, tag: re.Match[str]) -> bool:
    """Whether a closing tag is one, and not a quotation in a sentence about tags."""
    before = text[: tag.start()].rpartition("\n")[2]
    after = text[tag.end() :].partition("\n")[0]
    if before.endswith(_QUOTES) and after.startswith(_QUOTES):
        return False
    # Within a line, blanks on both sides make it a word of the sentence.
    return not (before.strip() and after.strip() and before[-1].isspace() and after[0].isspace())


def _unwrapped(text: str) -> str:
    """An answer without the tags around it, and without control tokens that mark it."""
    marked = _MARKED.fullmatch(text)
    plain = marked["inside"] if marked else text
    wrapped = _WRAPPED.fullmatch(plain)
    return wrapped["inside"] if wrapped else plain
