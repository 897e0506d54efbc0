"""When a task is worth trying again."""

from typing import Any

from storage.errors import RunFailed, WrongRequest


async def unless_refused(_task: Any, _run: Any, state: Any) -> bool:
    """Prefect's retry condition: not for what would fail again, a wrong request or endpoints that are down."""
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, WrongRequest | RunFailed)
