"""Where a reply states its answer: numbers or a list, among whatever prose a reader writes around it.

Readers are told to write the answer and nothing else. Of those that write more, what counts is, in this order:

1. A list that the reply begins with, as it was asked for, unless a later line with a label says another one, or the
   reader corrects itself.
2. The last line, where it is the answer alone or after a label ("Answer: 3", "The answer is 3.", "**[1, 0]**"); a
   number alone only where no other line is another number.
3. Lines with a label, if they agree.
4. Lists that stand on lines of their own or below a line that ends with a colon, if they agree; a number on the first
   line, with a blank line below it.
5. Lists in prose, if they agree, or the one that the reply ends with.

A reply that was cut off at max_tokens has no last line: there 2 and 5 don't count, and lists only below a colon.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Literal, NamedTuple

from tasks.contexts.special_tokens import FORM
from tasks.llm import reasoning
from tasks.llm.request import Reply, Unreadable, said

_DECORATION = r"[^\w\n]*"
_BOXED = r"(?:\\\w+\{)*"
_LABEL = (
    r"(?:(?:so|thus|therefore|hence)\W+)?(?:(?:the|my|final|correct|right|best)\s+){0,4}"
    r"(?:answers?|verdicts?|labels?|choice|digit|intruder|outlier|odd\s+one(?:\s+out)?|results?|output|list"
    r"|(?:number\s+of\s+the\s+)?(?:examples?|one)\s+(?:that|which)\s+(?:best\s+)?(?:do(?:es)?(?:\s+not|n['\u2019]t)\s+)?"
    r"(?:belong|fit)s?(?:\s+(?:best|most\s+exactly|the\s+description|the\s+pattern))*)\b"
)
_NAMED = (
    r"[*_`]*\s+(?:is\s+the\s+(?:answer|intruder|outlier|odd\s+one|one\s+that)"
    r"|does(?:\s+not|n['\u2019]t)\s+belong)\b"
)
"""What is said of the right example after its number."""
_IS = r"(?:\W+(?:is|are|would\s+be|should\s+be)\b)?\W*"
_CORRECTION = re.compile(r"\b(?:wait|no|actually|correct(?:ed|ion)|instead|sorry|rather)\b", re.IGNORECASE)
_TAKEN_BACK = re.compile(r"\b(?:wait|sorry|actually|instead|corrected|correction)\b", re.IGNORECASE)
"""What goes before a list in prose at the end of a reply that is said in the place of an earlier one."""
_REASON = re.compile(r"[*_`]*\s*(?:[.,;:(\u2013\u2014-]|because\b|since\b|as\b)[^\d\n?]*", re.IGNORECASE)
_DOUBT = re.compile(r"\b(?:or|either|maybe|perhaps|not\s+(?:sure|certain|really))\b", re.IGNORECASE)
_NEXT_QUESTION = re.compile(r"^[^\w\n]*Description:", re.MULTILINE)
"""How a question begins that a reader invents after its answer."""
_TURN_ENDS = re.compile(rf"(?<=\S)(?:{FORM})(?=\s*(?:\Z|(?:{FORM})))")
"""A control token after which a reply ends, or another turn begins."""


@dataclass(frozen=True)
class Wanted:
    """What an answer looks like."""

    called: str
    """What it is, for reasons."""
    brackets: str | None = None
    """Regular expression of it, without groups, where it is a list whose brackets tell it from prose."""
    plain: str | None = None
    """The same of one that prose may hold as well, such as a number."""
    before: str = ""
    """Regular expression of a word that may stand before it, such as `Example`."""


class Stated(NamedTuple):
    """An answer as it is written."""

    value: str
    after: str
    """The rest of the reply, which tells it from others that are written alike."""


class _Found(NamedTuple):
    value: str
    start: int
    end: int
    how: Literal["label", "colon", "alone", "prose"]

    @property
    def listed(self) -> bool:
        """Whether it is a list in brackets."""
        return self.value.startswith("[")


def stated(reply: Reply, key: str, wanted: Wanted, fits: Callable[[str], bool] = lambda _: True) -> Stated:
    """The answer in the reply to the request with this key; one that fits goes before one that doesn't.

    Raises `Unreadable` without one, with several that differ, and where the reply was cut off before its end.
    """
    whole = reasoning.answer(reply, key)
    text = _own(whole, wanted)
    cut = reply.finish_reason == "length"
    found = [one for one in _candidates(text, wanted) if not (cut and _may_go_on(text, one))]
    for some in ([one for one in found if fits(one.value)], found):
        chosen = _chosen(text, some, cut=cut)
        if chosen is not None:
            return Stated(chosen.value, whole[chosen.end :])
        if _several(some):
            break
    if _several(found) and not cut:
        msg = f"answers that differ in the reply to {key} ({said(reply)}): no {wanted.called} can be told"
        raise Unreadable(msg)
    msg = f"no {wanted.called} in the reply to {key} ({said(reply)})"
    raise Unreadable(msg)


def stated_number(reply: Reply, key: str, numbers: range, before: str = "") -> Stated:
    """The number in the reply to the request with this key; `before` matches a word before it, as in `Wanted`.

    Raises `Unreadable` as `stated` does, and where the number is none of `numbers`.
    """
    allowed = [str(number) for number in numbers]
    wanted = Wanted(f"number from {allowed[0]} to {allowed[-1]}", plain="[0-9]+", before=before)
    answer = stated(reply, key, wanted, allowed.__contains__)
    if answer.value not in allowed:
        msg = f"no {wanted.called} in the reply to {key} ({said(reply)})"
        raise Unreadable(msg)
    return answer


def _own(text: str, wanted: Wanted) -> str:
    """A reply without the turns and questions that the reader invents and answers after the one that it was asked."""
    turn = _TURN_ENDS.search(text)
    text = text[: turn.start()] if turn else text
    first = next(_candidates(text, wanted), None)
    begin = _NEXT_QUESTION.search(text, first.end) if first else None
    return text[: begin.start()] if begin else text


def _chosen(text: str, found: list[_Found], *, cut: bool) -> _Found | None:
    labels = [one for one in found if one.how == "label"]
    lists = [one for one in found if one.listed]
    first = _first(text, lists, labels)
    if first:
        return first
    last = None if cut else _last(text, found)
    if last:
        return last
    if labels or not lists:
        return _agreed(labels) or _first_line(text, found, cut=cut)
    return _of_lists(text, lists, cut=cut)


def _last(text: str, found: list[_Found]) -> _Found | None:
    """What the last line states; not so a number that is one of several lines of numbers."""
    last = next((one for one in reversed(found) if one.how != "prose" and _bare(text[one.end :])), None)
    if last is None or last.listed or last.how == "label":
        return last
    return _agreed([one for one in found if one.how == "alone" and not one.listed])


def _of_lists(text: str, lists: list[_Found], *, cut: bool) -> _Found | None:
    """The list that several agree on, or the last in prose."""
    lines = [one for one in lists if one.how == "colon" or (one.how == "alone" and not cut)]
    last = None if cut else next((one for one in lists if _bare(text[one.end :])), None)
    if lines and last and _TAKEN_BACK.search(text, lines[-1].end, last.start):
        return last
    return _agreed(lines) if lines or cut else _agreed(lists) or last


def _first(text: str, found: list[_Found], labels: list[_Found]) -> _Found | None:
    """A list that the reply begins with, as long as nothing takes it back."""
    first = next((one for one in found if _bare(text[: one.start])), None)
    if first is None or any(one.value != first.value for one in labels):
        return None
    others = any(one.value != first.value for one in found)
    return None if others and _CORRECTION.search(text, first.end) else first


def _may_go_on(text: str, found: _Found) -> bool:
    """Whether a value at the end of a reply that was cut off might be longer; not so where it is all of the reply."""
    ends = not found.listed and _bare(text[found.end :])
    return ends and ("," in found.value or not _bare(text[: found.start]))


def _first_line(text: str, found: list[_Found], *, cut: bool) -> _Found | None:
    """A value on the first line; where the reply was cut off, the reply may be nothing else."""
    first = next((one for one in found if one.how == "alone"), None)
    if first is None or not _bare(text[: first.start]) or any(one.how == "label" for one in found):
        return None
    rest = text[first.end :].lstrip("*_`.)]}\"' \t")
    alone = [one for one in found if one.how == "alone"]
    return first if (rest.startswith("\n\n") or (cut and not rest)) and _agreed(alone) else None


def _agreed(found: list[_Found]) -> _Found | None:
    return found[-1] if found and not _several(found) else None


def _several(found: Iterable[_Found]) -> bool:
    return len({"".join(one.value.split()) for one in found}) > 1


def _bare(text: str) -> bool:
    """Whether nothing but signs is there."""
    return not re.search(r"\w", text)


def _candidates(text: str, wanted: Wanted) -> Iterator[_Found]:
    """All that may be the answer, in its order; what stands in prose only where brackets mark it."""
    found: dict[int, _Found] = {}
    labelled, closing, named, alone, prose = _patterns(wanted)
    if wanted.brackets:
        for match in prose.finditer(text):
            line = text[: match.start("value")].rpartition("\n")[2]
            introduced = not line.strip() and text[: match.start("value")].rstrip().endswith(":")
            found[match.start("value")] = _found(match, "colon" if introduced else "prose")
    for match in alone.finditer(text):
        if found.get(match.start("value"), _found(match, "prose")).how != "colon":
            found[match.start("value")] = _found(match, "alone")
    labels = (
        match
        for match in chain(labelled.finditer(text), closing.finditer(text))
        if _ends_statement(text, match)
    )
    found |= {match.start("value"): _found(match, "label") for match in chain(labels, named.finditer(text))}
    yield from (found[start] for start in sorted(found))


def _found(match: re.Match[str], how: Literal["label", "colon", "alone", "prose"]) -> _Found:
    return _Found(match["value"], *match.span("value"), how)


def _ends_statement(text: str, match: re.Match[str]) -> bool:
    """Whether what stands after a labelled value leaves it as it is: nothing, or a reason, and no second one."""
    line = text[match.end("value") :].partition("\n")[0]
    if _bare(line):
        return "?" not in line
    if match["value"].startswith("["):
        return "[" not in line and "?" not in line[:2]
    return "\n" not in match[0] and bool(_REASON.fullmatch(line)) and not _DOUBT.search(line)


@cache
def _patterns(wanted: Wanted) -> tuple[re.Pattern[str], ...]:
    """After a label at the start of a line; after one at the reply's end; alone on a line; in brackets anywhere."""
    either = "|".join(one for one in (wanted.brackets, wanted.plain) if one)
    value = rf"{_BOXED}{wanted.before}(?P<value>{either})"
    flags = re.IGNORECASE | re.MULTILINE
    return (
        re.compile(rf"^{_DECORATION}{_LABEL}{_IS}{value}(?!\w)", flags),
        re.compile(rf"\b{_LABEL}\s*(?:\bis\b|:)\W*{value}\W*\Z", flags),
        re.compile(rf"^{_DECORATION}{value}{_NAMED}(?!.*\bor\b)[^\d\n?]*$", flags),
        re.compile(rf"^{_DECORATION}{value}{_DECORATION}$", flags),
        re.compile(f"(?P<value>{wanted.brackets or wanted.plain})", flags),
    )
