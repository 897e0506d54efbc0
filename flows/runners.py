"""Where the tasks of a step run: threads of this process, or the workers of a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from prefect import Task
from prefect.futures import PrefectFuture

from flows.config import Dask, Threads
from storage.errors import WrongRequest


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
