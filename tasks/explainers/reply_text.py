"""Find the explanation in a reply, and detect one that copies an example of the prompt.

A tag counts at the start of a line only, also in a code fence, a heading, a list item or bold. Of several tags the last
one counts, since readers write drafts first; where a tag is in capitals, as the prompt writes it, only such tags do.
What a reader invents after the explanation, a next example or a next turn, ends the reply.

Small readers copy: one with 0.5 billion parameters gave the same few-shot answer for every feature. Words are compared
in their order, whatever their case and punctuation: the share of an example's words that an explanation has, by the
longest common subsequence, so that nothing put in between, before or after hides a copy.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

COPIED = 0.85
"""Share of an example's words from which on an explanation repeats it. Genuine explanations of what the few-shot
features respond to share 0.62 of a whole answer and 0.83 of a part of one at most; an answer with two of its words
exchanged has more than this (`tests/tasks/explainers/test_reply_text_copies.py` has both)."""
FEWEST_WORDS = 11
"""Of an example that is compared: shorter ones, such as "ordinal numbers", say what anybody may say."""

_WORD = re.compile(r"[^\W_]+")


def repeated(text: str, examples: Iterable[str]) -> str | None:
    """The first of the examples that a text repeats; null where it repeats none."""
    text_words = words(text)
    return next((example for example in examples if share(words(example), text_words) >= COPIED), None)


def words(text: str) -> list[str]:
    """The words of a text, in one letter case and one spelling of their characters."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def share(example: Sequence[str], text_words: Sequence[str]) -> float:
    """The share of an example's words that come back in their order; 0 for examples of fewer than `FEWEST_WORDS`."""
    if len(example) < FEWEST_WORDS:
        return 0.0
    lengths = [0] * (len(text_words) + 1)
    for word in example:
        before = lengths.copy()
        for place, other in enumerate(text_words, start=1):
            lengths[place] = (
                before[place - 1] + 1 if word == other else max(before[place], lengths[place - 1])
            )
    return lengths[-1] / len(example)


TAG = "EXPLANATION:"
LINE_WIDTH = 60
"""Characters from which on a line that ends in mid-sentence is taken for one that was wrapped."""

NESTED = 8
"""Signs around each other that are taken off an explanation."""

_SIGNS = r"(?:[^\w\n]|_)*"
_TAG = re.compile(
    rf"^{_SIGNS}(?:\d{{1,2}}[.)]{_SIGNS})?(?:final[ \t]+)?explanation(?:[*_`\"'\]]*[ \t]*[:\uff1a][*_`]*|[*_]*[ \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_CONTROL = r"<\|\w+\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]"
_INVENTED = re.compile(
    rf"^{_SIGNS}(?:(?:counter)?example[ \t]*\d+[*_]*:|activations[*_]*:|made (?:likelier|less likely):|description:"
    rf"|(?:user|human|assistant|system)[*_]*:?[*_ \t]*$)|^[ \t]*(?:{_CONTROL})"
    r"|(?<=[.!?\"])[ \t]+(?-i:(?:Counterexample|Example) \d+:|Activations: \()",
    re.IGNORECASE | re.MULTILINE,
)
_HEADED = re.compile(rf"\s*(?:#{{1,6}}\s|```|---|\*\*\*|===|{_SIGNS}[A-Z][\w' -]{{0,30}}[*_]*:(?:[\s*_]|$))")
"""A line that begins something else: a heading, a fence, a rule, a note with a label."""
_ITEM = re.compile(r"\A\s*(?:[-*+•]|\d{1,2}[.)])\s+")
_SENTENCE = re.compile(r"(?:[.!?]|[\u3002\uff01\uff1f])[)\]\"'\u201d\u2019\xbb*_`>]*\Z")
_OPEN_END = re.compile(r"(?:\.\.|\u2026|\b(?:e\.g|i\.e|cf|vs|esp)\.)[)\]\"'\u201d*_`]*\Z", re.IGNORECASE)
_AROUND = (
    ("<<", ">>"),
    ("```", "```"),
    ("**", "**"),
    ("__", "__"),
    ("`", "`"),
    ('"', '"'),
    ("\u201c", "\u201d"),
)
_NOTHING = re.compile(
    r"[*_ ]*(?:n/?a|none|null|unknown|unclear"
    r"|[\[<{][^\]>}]*\b(?:description|explanation|pattern)\b[^\]>}]*[\]>}])[*_ .]*",
    re.IGNORECASE,
)
"""What says that there is no explanation, or is where one should have been filled in; a quoted "None" is a word."""
_ONLY_AROUND = (("'", "'"), ("*", "*"), ("_", "_"), ("(", ")"))
"""Signs that stand in a text by themselves too, and go only where they stand around all of it."""


class Tagged(NamedTuple):
    """An explanation as it is written in a reply."""

    text: str
    """On one line, without signs around it."""
    whole: bool
    """Whether it ends as a sentence does, or something else follows it."""


def tagged(text: str) -> Tagged | None:
    """The explanation in an answer; null where there is no tag, or nothing after it."""
    tags = list(_TAG.finditer(text))
    tags = [tag for tag in tags if TAG[:-1] in tag[0]] or tags
    if not tags:
        return None
    invented = _INVENTED.search(text, tags[0].end())
    end = invented.start() if invented else len(text)
    candidates = [
        _after(text[tag.end() : end], followed=end < len(text)) for tag in tags if tag.start() < end
    ]
    *_, before, last = (None, *candidates)
    # Readers that repeat themselves are cut off in the middle of the next time.
    repeats = before and not (last and last.whole) and before.text.startswith(last.text if last else "")
    return before if repeats else last


def _after(text: str, *, followed: bool) -> Tagged | None:
    """The explanation that a text begins with; null where there is none."""
    lines, rest = _paragraph(text.split("\n"))
    joined = _joined(lines)
    bare = _plain(joined)
    if not bare.strip(".\u2026 ") or _NOTHING.fullmatch(joined):
        return None
    return Tagged(bare, followed or bool(re.search(r"\w", rest)) or _ends(bare))


def _paragraph(lines: list[str]) -> tuple[list[str], str]:
    """The lines that an explanation takes, and the rest."""
    taken: list[str] = []
    for number, line in enumerate(lines):
        if not taken and line.strip().strip("`-=*") in ("", "text", "markdown"):
            continue
        if taken and not _goes_on(taken[-1], line):
            if line.strip() or not taken[-1].endswith(":"):
                return taken, "\n".join(lines[number:])
            continue
        taken.append(line.strip())
    return taken, ""


def _joined(lines: list[str]) -> str:
    """Lines as one, list items with a semicolon between them."""
    text = ""
    for before, line in pairwise(["", *lines]):
        both = _ITEM.match(before) and _ITEM.match(line)
        text += f"{'; ' if both else ' '}{_ITEM.sub('', line, count=1)}"
    return " ".join(text.split())


def _goes_on(before: str, line: str) -> bool:
    """Whether a line belongs to the explanation that the line before it is of."""
    bare = line.strip()
    if not bare:
        return False
    if _ITEM.match(line):
        return before.endswith(":") or bool(_ITEM.match(before))
    if _HEADED.match(line) or _ends(before):
        return False
    return bare[0].islower() or before[-1] in ",;:(-\u2013\u2014" or len(before) >= LINE_WIDTH


def _ends(text: str) -> bool:
    """Whether a text ends as a sentence does."""
    return bool(_SENTENCE.search(text)) and not _OPEN_END.search(text)


def _plain(text: str) -> str:
    """A text without quotes, bold, fences, markers and control tokens around it or left over at one of its ends."""
    for _ in range(NESTED):
        less = re.sub(rf"(?<=\S)(?:{_CONTROL})+\s*\Z", "", text.strip())
        if less.startswith('"'):
            less = re.sub(r"(?<=\")\s*[,}\]]+\Z", "", less)
        for opening, closing in _AROUND:
            less = _unpaired(_inside(less, opening, closing), opening, closing)
        for opening, closing in _ONLY_AROUND:
            less = _inside(less, opening, closing)
        if less == text:
            break
        text = less
    return text


def _inside(text: str, opening: str, closing: str) -> str:
    """What stands between two signs, where they enclose all of a text and nothing else."""
    inside = text[len(opening) : -len(closing)]
    enclosed = text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing)
    return inside if enclosed and opening not in inside and closing not in inside else text


def _unpaired(text: str, opening: str, closing: str) -> str:
    """A text without a sign at its end, or at its start, that has no other one to go with."""
    missing = text.count(opening) % 2 if opening == closing else text.count(closing) - text.count(opening)
    if missing > 0 and text.endswith(closing):
        return text.removesuffix(closing)
    if text.startswith(opening) and missing and (opening == closing or missing < 0):
        return text.removeprefix(opening)
    return text
