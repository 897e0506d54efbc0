"""Errors that end a command; every message is one sentence: what is wrong, where, and what to do."""


class WrongRequest(ValueError):
    """The request cannot be carried out as it is; nothing has been written. Exit code 2."""


class RunFailed(RuntimeError):
    """The run could not be finished; committed steps stay, and the same command continues it. Exit code 1."""


class Damaged(RunFailed):
    """A file of a lake is truncated, changed, or of another kind than its name says."""

    def __init__(self, path: str, how: str) -> None:
        """`path` is the file's path in the lake, `how` the kind of damage in a few words."""
        super().__init__(f"{path} is damaged: {' '.join(how.split())}")
        self.path, self.how = path, " ".join(how.split())

    def __reduce__(self) -> tuple[type["Damaged"], tuple[str, str]]:
        """Pickle by the arguments of the constructor."""
        return type(self), (self.path, self.how)
