"""Surface cues of a rendered example, as numbers: its text, which of it is marked, what it shares with those beside it.

Nothing else goes in: no explanation and no activations.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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

COMPARED = (
    "examples beside it that have one of its marked words marked",
    "examples beside it that have one of its marked words",
    "share of its words that examples beside it have",
)
"""What each number is that compares an example with the others of its question."""


class Frequencies:
    """How often words occur in the examples of other features, each text of a feature once."""

    def __init__(self, texts: Mapping[int, Iterable[str]]) -> None:
        """Of the texts of each feature."""
        self._each = {feature: _counted(there) for feature, there in texts.items()}
        self._all = _together(self._each.values())

    def without(self, features: Iterable[int]) -> Callable[[str], float]:
        """The natural logarithm of a word's occurrences and one more, without those of some features.

        A feature's words come again in its own examples, and those of others in the examples of these others.
        """
        own = _together(self._each[feature] for feature in features)
        return lambda word: log(1 + self._all[word] - own[word])


def _counted(texts: Iterable[str]) -> Counter[str]:
    return _together(Counter(words_of(text)) for text in frozenset(texts))


def _together(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for there in counts:
        total.update(there)
    return total


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return [word.lower() for word in WORD.findall(text)]


def cues(example: Shown, frequency: Callable[[str], float]) -> np.ndarray:
    """The numbers of one example, float64 (`NAMES`), with the frequency of words elsewhere."""
    return np.array([*_of_text(example.text, frequency), *_of_marks(example, frequency)])


def compared(example: Shown, beside: Sequence[Shown]) -> np.ndarray:
    """The numbers of one example among others, float64 (`COMPARED`)."""
    words, marked = set(words_of(example.text)), _marked_words(example)
    others = [set(words_of(other.text)) for other in beside]
    every = set().union(*others)
    return np.array(
        [
            sum(bool(marked & _marked_words(other)) for other in beside),
            sum(bool(marked & other) for other in others),
            len(words & every) / max(len(words), 1),
        ]
    )


def _marked_words(example: Shown) -> set[str]:
    """The words, or signs where there are none, that an example has marked, in small letters."""
    return {word for span, _ in example.spans for word in words_of(span) or [span.strip()]}


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
