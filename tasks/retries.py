"""Prefect's retry condition of the tasks."""

from typing import Any

from storage.errors import RunFailed, WrongRequest


async def unless_refused(_task: Any, _run: Any, state: Any) -> bool:
    """Whether to retry: not where it would fail again, as with a wrong request or endpoints that are down."""
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, WrongRequest | RunFailed)
