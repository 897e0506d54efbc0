"""What one rendered example looks like, as numbers: its text, and which of it is marked.

Nothing else goes in: no explanation, no activations, and none of the examples beside it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import log

import numpy as np

from tasks.contexts.render import Shown
from tasks.contexts.special_tokens import SIGN
from tasks.contexts.visible import NEWLINE

WORD = re.compile(r"\w+")
NOWHERE = -1.0
"""Of a place in an example that has no marks."""

NAMES = (
    "characters",
    "words",
    "begins with a sign for a special token",
    "begins with a line break",
    "begins with a space",
    "begins with a capital",
    "begins with a letter",
    "begins with a number",
    "ends with a letter",
    "ends with a line break",
    "line breaks",
    "signs for special tokens",
    "share of letters",
    "share of capitals",
    "share of numbers",
    "share of spaces",
    "frequency of its words",
    "frequency of its rarest word",
    "marks",
    "characters marked",
    "longest mark",
    "first mark's place",
    "last mark's place",
    "last mark's distance from the end",
    "marks that begin with a space",
    "marks that begin with a capital",
    "marks with a number",
    "marks without letter or number",
    "marks with a line break",
    "marks inside a word",
    "marks before the end of a word",
    "marks with a sign for a special token",
    "words per mark",
    "frequency of the words marked",
    "frequency of the rarest word marked",
    "how often a marked word comes again unmarked",
)
"""What each number is."""


class Frequencies:
    """How often words occur in the examples that a classifier learns from, each text once."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Of these texts."""
        self._texts = frozenset(texts)
        self._counts: Counter[str] = Counter()
        for text in self._texts:
            self._counts.update(words_of(text))

    def beside(self, text: str) -> Callable[[str], float]:
        """The natural logarithm of a word's occurrences and one more, without those in one text.

        An example that is learned from would else know its own words better than one that is not.
        """
        own = Counter(words_of(text)) if text in self._texts else Counter()
        return lambda word: log(1 + self._counts[word] - own[word])


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return [word.lower() for word in WORD.findall(text)]


def looks(example: Shown, frequencies: Frequencies) -> np.ndarray:
    """The numbers of one example, float64 (`NAMES`)."""
    frequency = frequencies.beside(example.text)
    return np.array([*_of_text(example.text, frequency), *_of_marks(example, frequency)])


def _of_text(text: str, frequency: Callable[[str], float]) -> list[float]:
    words = words_of(text)
    length = max(len(text), 1)
    first, last = text[:1], text[-1:]
    known = list(map(frequency, words))
    return [
        len(text),
        len(words),
        first == SIGN,
        first == NEWLINE,
        first.isspace(),
        first.isupper(),
        first.isalpha(),
        first.isdigit(),
        last.isalpha(),
        last == NEWLINE,
        text.count(NEWLINE),
        text.count(SIGN),
        sum(map(str.isalpha, text)) / length,
        sum(map(str.isupper, text)) / length,
        sum(map(str.isdigit, text)) / length,
        sum(map(str.isspace, text)) / length,
        _mean(known),
        min(known, default=NOWHERE),
    ]


def _of_marks(example: Shown, frequency: Callable[[str], float]) -> list[float]:
    text, spans = example.text, example.spans
    length = max(len(text), 1)
    starts = [start for _, start in spans]
    ends = [start + len(span) for span, start in spans]
    around = [_whole(text, start, end) for start, end in zip(starts, ends, strict=True)]
    words = [word for there in around for word in words_of(there)]
    known = list(map(frequency, words))
    every, marked = Counter(words_of(text)), Counter(words)
    marked_text = [span for span, _ in spans]
    return [
        len(spans),
        sum(map(len, marked_text)),
        max(map(len, marked_text), default=0),
        min(starts, default=NOWHERE * length) / length,
        max(starts, default=NOWHERE * length) / length,
        (length - max(ends)) if ends else NOWHERE,
        _mean([span[:1].isspace() for span in marked_text]),
        _mean([span.strip()[:1].isupper() for span in marked_text]),
        _mean([any(map(str.isdigit, span)) for span in marked_text]),
        _mean([not any(map(str.isalnum, span)) for span in marked_text]),
        _mean([NEWLINE in span for span in marked_text]),
        _mean([_inside(text, start) for start in starts]),
        _mean([_inside(text, end) for end in ends]),
        _mean([SIGN in span for span in marked_text]),
        _mean([len(WORD.findall(span)) for span in marked_text]),
        _mean(known),
        min(known, default=NOWHERE),
        sum(max(every[word] - times, 0) for word, times in marked.items()),
    ]


def _whole(text: str, start: int, end: int) -> str:
    """A stretch of a text with the rest of the words at its ends."""
    while _inside(text, start):
        start -= 1
    while _inside(text, end):
        end += 1
    return text[start:end]


def _inside(text: str, place: int) -> bool:
    """Whether a word goes on over a place."""
    return 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else NOWHERE
