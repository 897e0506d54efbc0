"""Which tokens a question marks where the feature is silent, and in which contexts.

A window in which another feature fires is marked where that one does. Any other follows a rightly marked window of the
feature: as many runs of as many tokens, of the same looks (words, pieces of words, numbers, signs, line breaks; with a
space before, with a capital, as long, there once or again), as near to the same places as such tokens are. delphi
marks the same places in every negative, and counts them by another rule than in positives, so that a judge could tell
them apart without reading; `Paper` does that, for comparison.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import cycle, islice
from math import ceil
from statistics import mean
from typing import NamedTuple

import numpy as np

from tasks.contexts.context import Context
from tasks.contexts.render import MARKED, strongest

_UNLIKE = np.array([20, 4, 4, 2, 2, 3])
"""What tokens count as less alike for where they differ: their sort, a space before, a capital, length, whether they
end a word, whether the window has them again."""

_ALIKE_IN_SORT = 20
"""Below this two tokens are of one sort."""

_LENGTHS = (1, 2, 3, 4, 6)
"""Letters at which a token counts as longer."""


@lru_cache(maxsize=4096)
def _looks(strings: tuple[str, ...]) -> np.ndarray:
    """What each token of a window looks like, whatever it says, int64 (tokens, columns of `_UNLIKE` but the last)."""
    before, after = ("", *strings[:-1]), (*strings[1:], "")
    return np.array([_look(*token) for token in zip(before, strings, after, strict=True)], dtype=np.int64)


def _look(before: str, string: str, after: str) -> tuple[int, ...]:
    shown = string.strip()
    if not shown:
        sort = 0 if "\n" in string else 1
    elif not any(map(str.isalnum, shown)):
        sort = 2
    elif shown[0].isdigit():
        sort = 3
    else:
        sort = 4 if _joined(before, string) else 5
    length = sum(len(shown) >= letters for letters in _LENGTHS)
    return sort, string[:1].isspace(), shown[:1].isupper(), length, _joined(string, after)


def _joined(string: str, following: str) -> bool:
    """Whether two tokens are parts of one word."""
    return string[-1:].isalnum() and following[:1].isalnum()


def fired(context: Context) -> tuple[int, ...]:
    """Positions where the window's other feature, if it has one, fires above `MARKED` of its peak there."""
    activations = context.other_activations or ()
    bar = MARKED * max(activations, default=0.0)
    return tuple(place for place, activation in enumerate(activations) if activation > max(bar, 0.0))


def elsewhere(
    contexts: Sequence[Context], positives: Sequence[Context], draw: random.Random
) -> dict[int, tuple[int, ...]]:
    """Positions to mark wrongly, by the windows' numbers: where another feature fires, else as `matched` chooses.

    Raises `ValueError` where there is none to follow.
    """
    where = {context.context: fired(context) for context in contexts}
    return where | matched([context for context in contexts if not where[context.context]], positives, draw)


def matched(
    contexts: Sequence[Context], positives: Sequence[Context], draw: random.Random
) -> dict[int, tuple[int, ...]]:
    """Positions to mark wrongly, by the windows' numbers: off every firing, on tokens like those of positives.

    Each window follows one of `positives`, each of these as often as any other within one; which follows which is
    chosen so that the marked tokens are most alike on the whole (an assignment problem). A window with fewer silent
    tokens than marks gets all of them.
    Raises `ValueError` where there is no positive.
    """
    if not contexts:
        return {}
    if not positives:
        msg = f"no activating context is there whose marks context {contexts[0].context} could follow"
        raise ValueError(msg)
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (a second to import)

    lenders = [_Lender.of(context) for context in draw.sample(positives, len(positives))]
    lenders = list(islice(cycle(lenders), len(contexts)))
    windows = [_Window.of(context) for context in contexts]
    chosen = linear_sum_assignment(_costs(windows, lenders))[1]
    return {
        context.context: _follow(lenders[lender], window)
        for context, window, lender in zip(contexts, windows, chosen, strict=True)
    }


class _Lender(NamedTuple):
    """The marks of a rightly marked window."""

    places: tuple[int, ...]
    looks: np.ndarray
    """Of the marked tokens (marks, `_UNLIKE`)."""

    @classmethod
    def of(cls, context: Context) -> "_Lender":
        places = strongest(context)
        return cls(places, _with_again(context.strings, frozenset(places))[list(places)])


class _Window(NamedTuple):
    """A window that is to be marked."""

    free: np.ndarray
    """Which tokens may be marked, bool (tokens)."""
    looks: np.ndarray
    """Of all tokens (tokens, `_UNLIKE`)."""

    @classmethod
    def of(cls, context: Context) -> "_Window":
        free = np.array([activation == 0 for activation in context.activations], dtype=bool)
        return cls(free, _with_again(context.strings, frozenset()))


def _with_again(strings: tuple[str, ...], but: frozenset[int]) -> np.ndarray:
    """The looks of a window's tokens, and whether the window has each again, at other places than `but`."""
    shown = [string.strip().lower() for string in strings]
    there = Counter(word for place, word in enumerate(shown) if place not in but)
    again = [there[word] > (place not in but) for place, word in enumerate(shown)]
    return np.column_stack([_looks(strings), again])


def _costs(windows: Sequence[_Window], lenders: Sequence[_Lender]) -> np.ndarray:
    """How unlike each lender's marks are to those tokens of each window that are most like them (windows, lenders)."""
    kinds, kind = np.unique(np.concatenate([lender.looks for lender in lenders]), axis=0, return_inverse=True)
    owner = np.repeat(np.arange(len(lenders)), [len(lender.places) for lender in lenders])
    costs = np.empty((len(windows), len(lenders)))
    for number, window in enumerate(windows):
        least = _unlike(kinds, window.looks[window.free]).min(axis=1, initial=_UNLIKE.sum())
        short = np.maximum([len(lender.places) - window.free.sum() for lender in lenders], 0)
        costs[number] = np.bincount(owner, least[kind.ravel()], len(lenders)) + _ALIKE_IN_SORT * short
    return costs


def _unlike(tokens: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How unlike tokens are to others (tokens, others)."""
    return (tokens[:, None] != others[None]) @ _UNLIKE


def _follow(lender: _Lender, window: _Window) -> tuple[int, ...]:
    """Places whose tokens are most like those that are marked in a lender, run by run, the nearest of equals."""
    unlike, free = _unlike(lender.looks, window.looks), window.free.copy()
    runs = list(_runs(lender.places))
    marks = dict(zip(lender.places, unlike, strict=True))
    while runs:
        run = runs.pop(0)
        starts = [start for start in range(len(free) - len(run) + 1) if free[start : start + len(run)].all()]
        if starts:
            start = min(
                starts,
                key=lambda start, run=run: (
                    sum(marks[place][start + step] for step, place in enumerate(run)),
                    abs(start - run[0]),
                    start,
                ),
            )
            free[start : start + len(run)] = False
        elif len(run) > 1:
            runs = [[place] for place in run] + runs  # nowhere so many in a row
    return tuple(map(int, np.flatnonzero(window.free & ~free)))


def _runs(places: Sequence[int]) -> Iterator[list[int]]:
    """Places that follow each other, together."""
    run: list[int] = []
    for place in places:
        if run and place != run[-1] + 1:
            yield run
            run = []
        run.append(place)
    if run:
        yield run


class Paper(NamedTuple):
    """Marks as the paper's code and delphi 0.1.3 have them (`delphi/scorers/classifier/sample.py`)."""

    number: int
    """Tokens that are marked wrongly in each window."""
    seed: int
    """The same for every window: in windows of one length the same places are marked, as far as they can be."""

    @classmethod
    def of(cls, positives: Sequence[Context], seed: int) -> "Paper":
        """As many marks as `positives` have firing tokens on average, rounded up."""
        return cls(ceil(mean(_firing(context) for context in positives)) if positives else 0, seed)

    @staticmethod
    def rightly(context: Context) -> tuple[int, ...]:
        """Positions that reach `MARKED` of the window's peak."""
        bar = MARKED * context.peak
        return tuple(place for place, activation in enumerate(context.activations) if activation >= bar)

    def wrongly(self, context: Context) -> tuple[int, ...]:
        """Random positions that do not lie above that, the feature's weak firings among them.

        One of them is always that at three quarters of the window, where it may be.
        """
        bar = MARKED * context.peak
        below = [place for place, activation in enumerate(context.activations) if activation <= bar]
        draw = random.Random(self.seed)  # noqa: S311  (a draw, not a secret)
        number = min(self.number, len(below))
        always = len(context.strings) - len(context.strings) // 4
        if always not in below:
            return tuple(sorted(draw.sample(below, number)))
        below.remove(always)
        return tuple(sorted([always, *draw.sample(below, max(number - 1, 0))]))


def _firing(context: Context) -> int:
    return sum(activation != 0 for activation in context.activations)


def shared_out(
    contexts: Sequence[Context], wrong: int, of: int, most: int | None, draw: random.Random
) -> tuple[list[Context], list[Context]]:
    """Activating contexts to mark rightly, and those to mark wrongly: `wrong` of every `of`, in each decile alike.

    Of a decile at most `most` are taken, all if null. A window on which the feature fires everywhere has no token to
    be marked wrongly: its turn passes to the next one.
    """
    deciles: dict[int, list[Context]] = defaultdict(list)
    for context in sorted(contexts, key=lambda context_: context_.context):
        deciles[-1 if context.decile is None else context.decile].append(context)
    rightly: list[Context] = []
    wrongly: list[Context] = []
    due = 0
    for decile in sorted(deciles):
        draw.shuffle(deciles[decile])
        for context in deciles[decile][:most]:
            due += wrong
            if due >= of and 0 in context.activations:
                due -= of
                wrongly.append(context)
            else:
                rightly.append(context)
    return rightly, wrongly
