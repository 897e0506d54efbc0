"""Mapped tasks over the parts of a step, or over spans of parts: a bounded number at a time, then the commit.

Parts are not locked. Any number of processes may make the same step: each takes parts in a random order and checks
before each whether another process has written it. At worst a part is made twice, with the same bytes.

A span is a group of neighbouring buckets that one sampling task takes, so that it reads at least `GROUPS` row groups of
each Parquet part: only whole row groups can be read, and it reads at most one more than that of each part, whatever the
width of the coder.

Where the tasks of a step run: threads of this process, or the workers of a Dask cluster.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from prefect import Task
from prefect.futures import PrefectFuture, as_completed

from flows.config import Dask, Threads
from flows.progress import Bar, progress
from storage import query
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.layout import Range, Step
from storage.part import ROW_GROUP
from tasks.sampling.work import MAX_FIRINGS


class Submit(Protocol):
    """Starts a task on a worker."""

    def __call__(self, task: Task[..., int], **parameters: object) -> PrefectFuture[int]:
        """The future of its result."""
        ...


class Workers(NamedTuple):
    """How tasks are submitted, and how many run at a time."""

    submit: Submit
    at_once: int
    """Number of tasks that only read and write tables."""
    shards: int
    """Number of shards of the cache: two for each process with the model, one that computes and one being written."""


@contextmanager
def task_runner(runner: Threads | Dask) -> Iterator[Workers]:
    """The workers of a config, inside of a flow. Raises `WrongRequest` when a Dask cluster cannot be had."""
    if isinstance(runner, Threads):
        yield Workers(_submit_to_thread, runner.workers, 2)
        return
    with _cluster(runner) as dask:
        workers = dask.client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            msg = f"the Dask scheduler at {runner.address} has no workers; start some: dask worker {runner.address}"
            raise WrongRequest(msg)
        threads = sum(int(worker["nthreads"]) for worker in workers)

        def submit(task: Task[..., int], **parameters: object) -> PrefectFuture[int]:
            return dask.submit(task, parameters)

        yield Workers(submit, threads, 2 * len(workers))


def _submit_to_thread(task: Task[..., int], **parameters: object) -> PrefectFuture[int]:
    return task.submit(**parameters)


@contextmanager
def _cluster(runner: Dask) -> Iterator[Any]:
    """Prefect's Dask runner, connected; typed as anything, since the package is an extra."""
    try:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError:
        msg = "runner.kind is dask, and prefect-dask is not installed; pip install 'gloss-sae[dask]'"
        raise WrongRequest(msg) from None
    dask = DaskTaskRunner(address=runner.address, client_kwargs={"timeout": runner.timeout})
    with dask:
        try:
            dask.client.scheduler_info()
        except (OSError, TimeoutError) as error:
            msg = f"there is no Dask scheduler at {runner.address} ({error}); start one: dask scheduler"
            raise WrongRequest(msg) from error
        yield dask


GROUPS = 2
"""Row groups of each part that the firings of a span fill."""


def firing_counts(lake: Lake, features: Step) -> np.ndarray:
    """[width] int64: how often each feature of a committed step `features` fires."""
    every = {"features": lake.parts(features, "features"), "first": 0, "end": lake.rows(features, "features")}
    with lake.connect() as connection:
        return query.rows(connection, "sample_counts", **every)["firings"].to_numpy()


def spans(buckets: Sequence[Range], firings: np.ndarray, parts: int, at_once: int) -> list[Sequence[Range]]:
    """Group neighbouring buckets into spans with about equal firings: enough, but no more than fit into memory.

    `firings` are those of each feature, `parts` those of `activations`. There are no fewer spans than tasks run
    `at_once`, if there are as many buckets. A span of more than `MAX_FIRINGS` firings is a single bucket.
    """
    each = np.array([firings[bucket.first : bucket.end].sum() for bucket in buckets])
    total = int(each.sum())
    count = max(total // (GROUPS * parts * ROW_GROUP), -(-total // MAX_FIRINGS), at_once)
    return [part for span in _even(buckets, each, min(count, len(buckets))) for part in _split_large(*span)]


def _even(
    buckets: Sequence[Range], each: np.ndarray, count: int
) -> Iterator[tuple[Sequence[Range], np.ndarray]]:
    """The buckets and their firings in `count` pieces, cut where the firings so far are nearest to equal parts."""
    middles = np.cumsum(each) - each / 2
    cuts = [0]
    for nth in range(1, count):
        nearest = int(np.searchsorted(middles, each.sum() * nth / count))
        cuts.append(min(max(nearest, cuts[-1] + 1), len(buckets) - (count - nth)))
    for begin, end in pairwise([*cuts, len(buckets)]):
        yield buckets[begin:end], each[begin:end]


def _split_large(buckets: Sequence[Range], each: np.ndarray) -> Iterator[Sequence[Range]]:
    """A span, split where it would have more than `MAX_FIRINGS` firings."""
    begin, held = 0, 0
    for place, more in enumerate(each.tolist()):
        if place > begin and held + more > MAX_FIRINGS:
            yield buckets[begin:place]
            begin, held = place, 0
        held += more
    yield buckets[begin:]


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
    """Start a task for every missing part of a step and commit it. Raises what the first failed task raised."""
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
    incomplete = [missing for span in spans if (missing := [part for part in span if part in todo])]

    def begun(bar: Bar) -> Iterator[PrefectFuture[int]]:
        for span in _ORDER.sample(incomplete, len(incomplete)):
            if missing := [part for part in span if not lake.written(step, part)]:
                yield begin(missing)
            else:
                bar.advance()

    if incomplete:
        with progress(title, len(incomplete)) as bar:
            wait_for_all(begun(bar), at_once, bar)
    lake.commit(step, parts)


def unwritten(lake: Lake, steps: Sequence[Step], parts: Sequence[Range], bar: Bar) -> Iterator[Range]:
    """The parts that one of the steps still lacks when their turn comes; the others count as done."""
    for part in _ORDER.sample(parts, len(parts)):
        if all(lake.written(step, part) for step in steps):
            bar.advance()
        else:
            yield part


def wait_for_all(futures: Iterable[PrefectFuture[int]], at_once: int, bar: Bar) -> None:
    """Wait for all futures; the iterator, which starts them, is read when fewer than `at_once` are running.

    Prefect's server and this process hold every task that was started, so that a step of thousands starts few at once.
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
