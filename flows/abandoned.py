"""A Prefect server of the user's is told of the flow runs that an interrupted command leaves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.states import Crashed

from flows.cache import cache
from flows.explain import explain
from flows.interrupts import last_act
from flows.run import run
from flows.sample import sample
from flows.score import score

FLOWS: tuple[Any, ...] = (run, cache, sample, explain, score)


@contextmanager
def told_of() -> Iterator[None]:
    """While it lasts, an interrupted command says so of the flow runs that are under way."""
    running: list[UUID] = []

    def began(flow: object, flow_run: Any, state: object) -> None:  # noqa: ARG001  (hooks are called so)
        running.append(flow_run.id)

    def ended(flow: object, flow_run: Any, state: object) -> None:  # noqa: ARG001
        if flow_run.id in running:
            running.remove(flow_run.id)

    def tell() -> None:
        with get_client(sync_client=True) as client:
            for flow_run in reversed(running):
                client.set_flow_run_state(
                    flow_run, Crashed(message="The command was interrupted."), force=True
                )

    hooks = [
        (hooks, hook)
        for flow in FLOWS
        for hooks, hook in (
            (flow.on_running_hooks, began),
            (flow.on_completion_hooks, ended),
            (flow.on_failure_hooks, ended),
            (flow.on_crashed_hooks, ended),
        )
    ]
    for listed, hook in hooks:
        listed.append(hook)
    try:
        with last_act(tell):
            yield
    finally:
        for listed, hook in hooks:
            listed.remove(hook)
