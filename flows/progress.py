"""Progress of a stage: a bar on a terminal, plain lines elsewhere, and an artifact in Prefect's UI."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from flows import terminal
from flows.terminal import plain

ARTIFACT_SECONDS = 5.0
"""Least time between two updates of the artifact, each of which costs Prefect's server 27 ms."""
LINE_SECONDS = 10.0
"""Least time between two plain lines."""


class Bar:
    """Counts the finished parts of one stage."""

    def __init__(self, title: str, total: int, console: Console) -> None:
        """No part is finished yet."""
        self.title, self.total, self.done = title, total, 0
        self.beside: Callable[[], str] = str
        """Returns further text about the stage, such as its cost; called whenever progress is shown."""
        self._told = -1
        self._console = console
        self._bars: Progress | None = None
        self._artifact: UUID | None = None
        self._line_printed = self._sent = self._started = time.monotonic()

    def advance(self, parts: int = 1) -> None:
        """Count more parts as finished."""
        self.done += parts
        now = time.monotonic()
        if self._bars is not None:
            self._bars.advance(self._bars.task_ids[0], parts)
        elif now - self._line_printed >= LINE_SECONDS:
            self._line_printed = now
            self._line()
        if self._artifact is not None and now - self._sent >= ARTIFACT_SECONDS:
            self._sent = now
            self._send()

    def _line(self) -> None:
        if self._told == self.done:
            return
        self._told = self.done
        seconds = time.monotonic() - self._started
        beside = self.beside()
        self._console.print(
            f"{self.title}: {self.done} of {self.total} parts ({seconds:.0f} s){beside and f', {beside}'}",
            soft_wrap=True,
        )

    def _send(self) -> None:
        if self._artifact is not None:
            percent = 100.0 * self.done / max(self.total, 1)
            update_progress_artifact(self._artifact, progress=percent, _sync=True)  # pyright: ignore[reportCallIssue]

    @contextmanager
    def shown(self) -> Iterator["Bar"]:
        """Show the progress while the stage runs."""
        if FlowRunContext.get() is not None:
            self._artifact = create_progress_artifact(
                progress=0.0,
                description=plain(self.title),
                _sync=True,  # pyright: ignore[reportCallIssue]
            )
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<34}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                _Beside(self),
                console=self._console,
            )
            self._bars.add_task(self.title, total=self.total)
            self._bars.start()
        try:
            yield self
        finally:
            if self._bars is not None:
                self._bars.stop()
            else:
                self._line()
            self._send()


class _Beside(ProgressColumn):
    """The further text of a bar, read whenever the bar is drawn."""

    def __init__(self, bar: Bar) -> None:
        super().__init__()
        self._bar = bar

    def render(self, task: Task) -> Text:  # noqa: ARG002  (rich hands it over)
        """The text now."""
        return Text(self._bar.beside())


@contextmanager
def progress(title: str, total: int) -> Iterator[Bar]:
    """A bar for `total` parts, on standard error, so that output can be piped."""
    with Bar(title, total, terminal.console(stderr=True)).shown() as bar:
        yield bar


def say(line: str) -> None:
    """One line between the bars."""
    terminal.errors().print(terminal.one_line(line))


@contextmanager
def waiting(what: str, *, plainly: bool = False) -> Iterator[None]:
    """Show a message with a spinner on a terminal; elsewhere print it as a line if `plainly`, or not at all."""
    console = terminal.console(stderr=True)
    if plainly and not console.is_terminal:
        say(what)
    with console.status(Text(what)) if console.is_terminal else nullcontext():
        yield
