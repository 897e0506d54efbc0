"""Mapped tasks over the parts of a step: a bounded number at a time, with progress, then the commit.

Nothing is claimed. Any number of processes may make the same step: each takes parts in an order of its own and looks
before each whether another one has written it. At worst a part is made twice, with the same bytes.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

from prefect.futures import PrefectFuture, as_completed

from flows.progress import Bar, progress
from storage.lake import Lake
from storage.layout import Range, Step

_ORDER = random.SystemRandom()
"""Not seeded: processes that are started with the same config must not take parts in the same order."""


def make_parts(
    title: str,
    lake: Lake,
    step: Step,
    parts: Sequence[Range],
    begin: Callable[[Range], PrefectFuture[int]],
    at_once: int,
) -> None:
    """Begin a task for every missing part of a step and commit it. Raises what the first failed task raised."""
    make_spans(title, lake, step, [[part] for part in parts], lambda span: begin(span[0]), at_once)


def make_spans(
    title: str,
    lake: Lake,
    step: Step,
    spans: Sequence[Sequence[Range]],
    begin: Callable[[Sequence[Range]], PrefectFuture[int]],
    at_once: int,
) -> None:
    """The same with one task for all missing parts of a span."""
    parts = [part for span in spans for part in span]
    todo = {*lake.missing(step, parts)}
    lacking = [some for span in spans if (some := [part for part in span if part in todo])]

    def begun(bar: Bar) -> Iterator[PrefectFuture[int]]:
        for span in _ORDER.sample(lacking, len(lacking)):
            if some := [part for part in span if not lake.written(step, part)]:
                yield begin(some)
            else:
                bar.advance()

    if lacking:
        with progress(title, len(lacking)) as bar:
            drain(begun(bar), at_once, bar)
    lake.commit(step, parts)


def unwritten(lake: Lake, steps: Sequence[Step], parts: Sequence[Range], bar: Bar) -> Iterator[Range]:
    """The parts, each only if one of the steps still lacks it when its turn comes; the others count as done."""
    for part in _ORDER.sample(parts, len(parts)):
        if all(lake.written(step, part) for step in steps):
            bar.advance()
        else:
            yield part


def drain(futures: Iterable[PrefectFuture[int]], at_once: int, bar: Bar) -> None:
    """Wait for futures of which at most `at_once` are begun at a time; `futures` is read as there is room.

    Prefect's server and this process hold every task that is begun, so a step of thousands begins few of them.
    """
    running: list[PrefectFuture[int]] = []
    for future in futures:
        running.append(future)
        if len(running) == at_once:
            _finish(running, bar)
    while running:
        _finish(running, bar)


def _finish(running: list[PrefectFuture[int]], bar: Bar) -> None:
    done = next(iter(as_completed(running)))
    running.remove(done)
    done.result()
    bar.advance()
