"""What is raised when the endpoints of a reader are unusable.

1. A request that fails is an outcome with a reason, never an exception.
2. `EndpointsDown` is raised when no endpoint has been of use for long, and stops the run.
3. `EndpointRefused` is raised by the check before a run, while there is still nothing to lose.
"""

from storage.errors import RunFailed, WrongRequest


class EndpointsDown(RunFailed):
    """No endpoint is of use any more; what is done is kept and the run can be continued."""


class EndpointRefused(WrongRequest):
    """An endpoint as configured cannot answer the run's requests; one sentence says what to change."""
