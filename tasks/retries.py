"""Prefect's retry condition of the tasks."""

from typing import Any

from storage.errors import RunFailed, WrongRequest


async def unless_refused(_task: Any, _run: Any, state: Any) -> bool:
    """Whether to retry a task: not after a wrong request or a failed run, such as with endpoints that are down."""
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, WrongRequest | RunFailed)
