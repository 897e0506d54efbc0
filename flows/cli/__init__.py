"""The `gloss` command: `main` runs it, `parser` says what it understands."""

from flows.cli.main import main, parser

__all__ = ["main", "parser"]
