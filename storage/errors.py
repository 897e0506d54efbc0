"""The two ways in which a command ends badly; every message is one sentence: what, where, what to do."""


class WrongRequest(ValueError):
    """What was asked cannot be done as it was asked; nothing has been written. Exit code 2."""


class RunFailed(RuntimeError):
    """The run could not be finished; what is committed is kept and the same command continues. Exit code 1."""
