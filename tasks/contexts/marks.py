"""Which tokens a question marks where the feature is silent.

A window in which another feature fires is marked where that one does. Every other window copies the marks of a
correctly marked window of the feature: the same number and lengths of runs, on tokens of the same surface
(`tasks/contexts/surface.py`), as close as possible to the same positions. So marks tell as little as can be without the
explanation.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

from tasks.contexts.context import Context
from tasks.contexts.render import MARKED, strongest
from tasks.contexts.surface import FARTHEST, OTHER_CLASS, distances, surfaces


def other_positions(context: Context) -> tuple[int, ...]:
    """Positions where the window's other feature, if it has one, fires above `MARKED` of its peak there."""
    activations = context.other_activations or ()
    bar = MARKED * max(activations, default=0.0)
    return tuple(position for position, activation in enumerate(activations) if activation > max(bar, 0.0))


def wrong_positions(
    contexts: Sequence[Context], positives: Sequence[Context], draw: random.Random
) -> dict[int, tuple[int, ...]]:
    """Positions to mark wrongly, by the windows' numbers: where another feature fires, else `matched_positions`.

    Raises `ValueError` where there are no marks to copy.
    """
    where = {context.context: other_positions(context) for context in contexts}
    return where | matched_positions([item for item in contexts if not where[item.context]], positives, draw)


def matched_positions(
    contexts: Sequence[Context], positives: Sequence[Context], draw: random.Random
) -> dict[int, tuple[int, ...]]:
    """Positions to mark wrongly, by the windows' numbers: off every firing, on tokens like those of positives.

    Each window copies the marks of one of `positives`, each of these as often as any other within one; which copies
    which is chosen so that the marked tokens are most alike on the whole (an assignment problem). A window with fewer
    silent tokens than marks gets all of them.
    Raises `ValueError` where there is no positive.
    """
    if not contexts:
        return {}
    if not positives:
        msg = f"no activating context is there whose marks context {contexts[0].context} could copy"
        raise ValueError(msg)
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (a second to import)

    templates = _templates(draw.sample(positives, len(positives)))
    windows = _windows(contexts)
    turns = np.fromiter(islice(cycle(range(len(templates))), len(windows)), np.int64)
    chosen = turns[linear_sum_assignment(_costs(windows, templates)[:, turns])[1]]
    return {
        context.context: _copied(templates[template], window)
        for context, window, template in zip(contexts, windows, chosen, strict=True)
    }


class _Template(NamedTuple):
    """The marks of a correctly marked window."""

    positions: tuple[int, ...]
    surfaces: np.ndarray
    """Of the marked tokens, int64 (marks)."""


def _templates(contexts: Sequence[Context]) -> list[_Template]:
    marked = [strongest(context) for context in contexts]
    begins = _begins(contexts)
    rows = np.concatenate(
        [begin + np.array(places, np.int64) for begin, places in zip(begins, marked, strict=True)]
    )
    left_out = np.zeros(sum(len(context.strings) for context in contexts), dtype=bool)
    left_out[rows] = True
    of_marks = surfaces([context.strings for context in contexts], left_out)[rows]
    ends = np.cumsum([len(places) for places in marked])
    return [*map(_Template, marked, np.split(of_marks, ends[:-1]))]


class _Window(NamedTuple):
    """A window that is to be marked."""

    free: np.ndarray
    """Which tokens may be marked, bool (tokens)."""
    surfaces: np.ndarray
    """Of all tokens, int64 (tokens)."""


def _windows(contexts: Sequence[Context]) -> list[_Window]:
    free = np.array([activation == 0 for context in contexts for activation in context.activations])
    of_tokens = surfaces([context.strings for context in contexts], np.zeros(len(free), dtype=bool))
    return [*map(_Window, *(np.split(column, _begins(contexts)[1:]) for column in (free, of_tokens)))]


def _begins(contexts: Sequence[Context]) -> np.ndarray:
    """[contexts] int64: where the tokens of each begin, one after the other."""
    sizes = np.array([len(context.strings) for context in contexts])
    return np.cumsum(sizes) - sizes


def _costs(windows: Sequence[_Window], templates: Sequence[_Template]) -> np.ndarray:
    """Distance of each template's marks from those tokens of each window that are nearest (windows, templates)."""
    marks = [len(template.positions) for template in templates]
    kinds, kind = np.unique(
        np.concatenate([template.surfaces for template in templates]), return_inverse=True
    )
    counts = np.zeros((len(templates), len(kinds)))
    np.add.at(counts, (np.repeat(np.arange(len(templates)), marks), kind), 1)
    # Each distance once for a kind of token and every token of all windows, then the least of each window.
    apart = distances()[kinds[:, None], np.concatenate([window.surfaces for window in windows])]
    apart[:, ~np.concatenate([window.free for window in windows])] = FARTHEST
    sizes = np.array([len(window.free) for window in windows])
    least = np.minimum.reduceat(apart, np.cumsum(sizes) - sizes, axis=1)
    short = np.maximum(np.array(marks) - np.array([[window.free.sum()] for window in windows]), 0)
    return least.T @ counts.T + OTHER_CLASS * short


def _copied(template: _Template, window: _Window) -> tuple[int, ...]:
    """Positions whose tokens are most like those that are marked in a template, run by run, the nearest of equals."""
    apart, free = (
        distances()[template.surfaces[:, None], window.surfaces].astype(np.int64),
        window.free.copy(),
    )
    runs = list(_runs(template.positions))
    while runs:
        first, marks = runs.pop(0)
        starts = max(0, len(free) - len(marks) + 1)
        can, cost = free[:starts], apart[marks[0], :starts]
        for step, mark in enumerate(marks[1:], start=1):
            can, cost = can & free[step : step + starts], cost + apart[mark, step : step + starts]
        if can.any():
            far = np.abs(np.arange(starts) - first)
            start = int(np.argmin(np.where(can, cost * len(free) + far, np.iinfo(np.int64).max)))
            free[start : start + len(marks)] = False
        elif len(marks) > 1:  # nowhere so many in a row
            runs = [(first + step, range(mark, mark + 1)) for step, mark in enumerate(marks)] + runs
    return tuple(map(int, np.flatnonzero(window.free & ~free)))


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, range]]:
    """Positions that follow each other, together: the first of them, and their numbers among all."""
    begin = 0
    for number in range(1, len(positions) + 1):
        if number == len(positions) or positions[number] != positions[number - 1] + 1:
            yield positions[begin], range(begin, number)
            begin = number
