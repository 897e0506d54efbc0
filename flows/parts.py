"""Mapped tasks over the parts of a step: a bounded number at a time, with progress, then the commit."""

from collections.abc import Callable, Iterable, Sequence

from prefect.futures import PrefectFuture, as_completed

from flows.progress import Bar, progress
from storage.lake import Lake
from storage.layout import Range, Step


def make_parts(
    title: str,
    lake: Lake,
    step: Step,
    parts: Sequence[Range],
    submit: Callable[[Range], PrefectFuture[int]],
    at_once: int,
) -> None:
    """Submit a task for every missing part of a step and commit it. Raises what the first failed task raised."""
    todo = lake.missing(step, parts)
    if todo:
        with progress(title, len(todo)) as bar:
            drain((submit(part) for part in todo), at_once, bar)
    lake.commit(step, parts)


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
