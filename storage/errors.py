"""The ways in which a command ends badly; every message is one sentence: what, where, what to do."""


class WrongRequest(ValueError):
    """What was asked cannot be done as it was asked; nothing has been written. Exit code 2."""


class RunFailed(RuntimeError):
    """The run could not be finished; what is committed is kept and the same command continues. Exit code 1."""


class Damaged(RunFailed):
    """A file of a lake is not what its name says: cut, changed, or something else."""

    def __init__(self, path: str, how: str) -> None:
        """Name the file, by its path in the lake, and say in some words how it is damaged."""
        super().__init__(f"{path} is damaged: {' '.join(how.split())}")
        self.path, self.how = path, " ".join(how.split())

    def __reduce__(self) -> tuple[type["Damaged"], tuple[str, str]]:
        """Travels between processes by what it was made of."""
        return type(self), (self.path, self.how)
