"""The `gloss` command: `main` is its entry point; `flows.cli.main` has what it understands and does."""

from collections.abc import Sequence

from flows import interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command as a process of its own; returns the exit code.

    What the command needs takes a second or more to import, so that signals are taken before.
    """
    interrupts.handle()
    from flows.cli.main import main as command  # noqa: PLC0415  (as said above)

    return command(arguments)
