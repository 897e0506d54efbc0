"""When a bucket is worth trying again."""

from typing import Any

from storage.errors import RunFailed, WrongRequest
from tasks.llm.endpoints import EndpointsDown


async def unless_refused(_task: Any, _run: Any, state: Any) -> bool:
    """Prefect's retry condition: not for a wrong request, nor for endpoints that were given all their patience."""
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, WrongRequest | RunFailed | EndpointsDown)
