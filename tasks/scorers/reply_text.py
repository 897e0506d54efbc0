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
from tasks.llm.request import Reply, Unreadable, quote_reply

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
"""Words that may follow the number of the right example."""
_IS = r"(?:\W+(?:is|are|would\s+be|should\s+be)\b)?\W*"
_CORRECTION = re.compile(r"\b(?:wait|no|actually|correct(?:ed|ion)|instead|sorry|rather)\b", re.IGNORECASE)
_TAKEN_BACK = re.compile(r"\b(?:wait|sorry|actually|instead|corrected|correction)\b", re.IGNORECASE)
"""Words before a list at the end of a reply that replaces an earlier one."""
_REASON = re.compile(r"[*_`]*\s*(?:[.,;:(\u2013\u2014-]|because\b|since\b|as\b)[^\d\n?]*", re.IGNORECASE)
_DOUBT = re.compile(r"\b(?:or|either|maybe|perhaps|not\s+(?:sure|certain|really))\b", re.IGNORECASE)
_NEXT_QUESTION = re.compile(r"^[^\w\n]*Description:", re.MULTILINE)
"""The beginning of a question that a reader invents after its answer."""
_TURN_ENDS = re.compile(rf"(?<=\S)(?:{FORM})(?=\s*(?:\Z|(?:{FORM})))")
"""A control token after which a reply ends, or another turn begins."""


@dataclass(frozen=True)
class Wanted:
    """What an answer looks like."""

    called: str
    """What it is called in reasons of failures."""
    brackets: str | None = None
    """Regular expression of it, without groups, where it is a list whose brackets tell it from prose."""
    plain: str | None = None
    """Regular expression of an answer that prose may contain as well, such as a number."""
    before: str = ""
    """Regular expression of a word that may stand before it, such as `Example`."""


class Stated(NamedTuple):
    """An answer as the reply states it."""

    value: str
    after: str
    """The text after it, which distinguishes it from equal ones."""


class _Candidate(NamedTuple):
    value: str
    start: int
    end: int
    how: Literal["label", "colon", "alone", "prose"]

    @property
    def listed(self) -> bool:
        """Whether it is a list in brackets."""
        return self.value.startswith("[")


def stated(reply: Reply, key: str, wanted: Wanted, fits: Callable[[str], bool] = lambda _: True) -> Stated:
    """The answer in the reply to the request with this key; an admissible one takes precedence.

    Raises `Unreadable` without one, with several that differ, and where the reply was cut off before its end.
    """
    whole = reasoning.answer(reply, key)
    text = _own(whole, wanted)
    cut = reply.finish_reason == "length"
    candidates = [
        candidate for candidate in _candidates(text, wanted) if not (cut and _may_go_on(text, candidate))
    ]
    for choices in ([candidate for candidate in candidates if fits(candidate.value)], candidates):
        chosen = _chosen(text, choices, cut=cut)
        if chosen is not None:
            return Stated(chosen.value, whole[chosen.end :])
        if _several(choices):
            break
    if _several(candidates) and not cut:
        msg = f"answers that differ in the reply to {key} ({quote_reply(reply)}): no {wanted.called} can be told"
        raise Unreadable(msg)
    msg = f"no {wanted.called} in the reply to {key} ({quote_reply(reply)})"
    raise Unreadable(msg)


def stated_number(reply: Reply, key: str, numbers: range, before: str = "") -> Stated:
    """The number in the reply to the request with this key; `before` matches a word before it, as in `Wanted`.

    Raises `Unreadable` as `stated` does, and where the number is none of `numbers`.
    """
    allowed = [str(number) for number in numbers]
    wanted = Wanted(f"number from {allowed[0]} to {allowed[-1]}", plain="[0-9]+", before=before)
    answer = stated(reply, key, wanted, allowed.__contains__)
    if answer.value not in allowed:
        msg = f"no {wanted.called} in the reply to {key} ({quote_reply(reply)})"
        raise Unreadable(msg)
    return answer


def _own(text: str, wanted: Wanted) -> str:
    """A reply without the turns and questions that the reader invents and answers after the one that it was asked."""
    turn = _TURN_ENDS.search(text)
    text = text[: turn.start()] if turn else text
    first = next(_candidates(text, wanted), None)
    begin = _NEXT_QUESTION.search(text, first.end) if first else None
    return text[: begin.start()] if begin else text


def _chosen(text: str, candidates: list[_Candidate], *, cut: bool) -> _Candidate | None:
    labels = [candidate for candidate in candidates if candidate.how == "label"]
    lists = [candidate for candidate in candidates if candidate.listed]
    first = _first(text, lists, labels)
    if first:
        return first
    last = None if cut else _last(text, candidates)
    if last:
        return last
    if labels or not lists:
        return _agreed(labels) or _first_line(text, candidates, cut=cut)
    return _of_lists(text, lists, cut=cut)


def _last(text: str, candidates: list[_Candidate]) -> _Candidate | None:
    """The answer on the last line; None for a number that is one of several lines of numbers."""
    last = next(
        (
            candidate
            for candidate in reversed(candidates)
            if candidate.how != "prose" and _bare(text[candidate.end :])
        ),
        None,
    )
    if last is None or last.listed or last.how == "label":
        return last
    return _agreed(
        [candidate for candidate in candidates if candidate.how == "alone" and not candidate.listed]
    )


def _of_lists(text: str, lists: list[_Candidate], *, cut: bool) -> _Candidate | None:
    """The list on which several agree, or the last one in prose."""
    lines = [
        candidate for candidate in lists if candidate.how == "colon" or (candidate.how == "alone" and not cut)
    ]
    last = None if cut else next((candidate for candidate in lists if _bare(text[candidate.end :])), None)
    if lines and last and _TAKEN_BACK.search(text, lines[-1].end, last.start):
        return last
    return _agreed(lines) if lines or cut else _agreed(lists) or last


def _first(text: str, lists: list[_Candidate], labels: list[_Candidate]) -> _Candidate | None:
    """A list at the beginning of the reply, unless the rest of the reply retracts it."""
    first = next((candidate for candidate in lists if _bare(text[: candidate.start])), None)
    if first is None or any(candidate.value != first.value for candidate in labels):
        return None
    others = any(candidate.value != first.value for candidate in lists)
    return None if others and _CORRECTION.search(text, first.end) else first


def _may_go_on(text: str, candidate: _Candidate) -> bool:
    """Whether a value at the end of a reply that was cut off might be longer; not so where it is all of the reply."""
    ends = not candidate.listed and _bare(text[candidate.end :])
    return ends and ("," in candidate.value or not _bare(text[: candidate.start]))


def _first_line(text: str, candidates: list[_Candidate], *, cut: bool) -> _Candidate | None:
    """A value on the first line; where the reply was cut off, the reply may be nothing else."""
    first = next((candidate for candidate in candidates if candidate.how == "alone"), None)
    if (
        first is None
        or not _bare(text[: first.start])
        or any(candidate.how == "label" for candidate in candidates)
    ):
        return None
    rest = text[first.end :].lstrip("*_`.)]}\"' \t")
    alone = [candidate for candidate in candidates if candidate.how == "alone"]
    return first if (rest.startswith("\n\n") or (cut and not rest)) and _agreed(alone) else None


def _agreed(candidates: list[_Candidate]) -> _Candidate | None:
    return candidates[-1] if candidates and not _several(candidates) else None


def _several(candidates: Iterable[_Candidate]) -> bool:
    return len({"".join(candidate.value.split()) for candidate in candidates}) > 1


def _bare(text: str) -> bool:
    """Whether the text holds nothing but punctuation and symbols."""
    return not re.search(r"\w", text)


def _candidates(text: str, wanted: Wanted) -> Iterator[_Candidate]:
    """All possible answers in their order; those within prose only where brackets mark them."""
    candidates: dict[int, _Candidate] = {}
    labelled, closing, named, alone, prose = _patterns(wanted)
    if wanted.brackets:
        for match in prose.finditer(text):
            line = text[: match.start("value")].rpartition("\n")[2]
            introduced = not line.strip() and text[: match.start("value")].rstrip().endswith(":")
            candidates[match.start("value")] = _candidate(match, "colon" if introduced else "prose")
    for match in alone.finditer(text):
        if candidates.get(match.start("value"), _candidate(match, "prose")).how != "colon":
            candidates[match.start("value")] = _candidate(match, "alone")
    labels = (
        match
        for match in chain(labelled.finditer(text), closing.finditer(text))
        if _ends_statement(text, match)
    )
    candidates |= {
        match.start("value"): _candidate(match, "label") for match in chain(labels, named.finditer(text))
    }
    yield from (candidates[start] for start in sorted(candidates))


def _candidate(match: re.Match[str], how: Literal["label", "colon", "alone", "prose"]) -> _Candidate:
    return _Candidate(match["value"], *match.span("value"), how)


def _ends_statement(text: str, match: re.Match[str]) -> bool:
    """Whether the text after a labelled value does not change it: nothing, or a reason, and no second value."""
    line = text[match.end("value") :].partition("\n")[0]
    if _bare(line):
        return "?" not in line
    if match["value"].startswith("["):
        return "[" not in line and "?" not in line[:2]
    return "\n" not in match[0] and bool(_REASON.fullmatch(line)) and not _DOUBT.search(line)


@cache
def _patterns(wanted: Wanted) -> tuple[re.Pattern[str], ...]:
    """After a label at the start of a line; after one at the reply's end; alone on a line; in brackets anywhere."""
    either = "|".join(expression for expression in (wanted.brackets, wanted.plain) if expression)
    value = rf"{_BOXED}{wanted.before}(?P<value>{either})"
    flags = re.IGNORECASE | re.MULTILINE
    return (
        re.compile(rf"^{_DECORATION}{_LABEL}{_IS}{value}(?!\w)", flags),
        re.compile(rf"\b{_LABEL}\s*(?:\bis\b|:)\W*{value}\W*\Z", flags),
        re.compile(rf"^{_DECORATION}{value}{_NAMED}(?!.*\bor\b)[^\d\n?]*$", flags),
        re.compile(rf"^{_DECORATION}{value}{_DECORATION}$", flags),
        re.compile(f"(?P<value>{wanted.brackets or wanted.plain})", flags),
    )
