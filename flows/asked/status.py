"""`gloss status`: how far each step of a run, or of all runs, is."""

import argparse

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from flows.asked.lakes import reached
from storage import runs


def show_status(options: argparse.Namespace) -> int:
    """How far each step of a run, or of all runs, is."""
    lake, console = reached(options.lake), Console()
    names = [options.run] if options.run else runs.existing(lake)
    for name in names:
        grid = Grid(title=f"{name} in {lake.uri}", title_justify="left", box=SIMPLE)
        for column in ("stage", "of", "state", "parts", "rows", "MB"):
            numbers = column in {"parts", "rows", "MB"}
            grid.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for step in runs.states(lake, name):
            state = (
                "[green]complete[/]" if step.committed else ("[yellow]begun[/]" if step.parts else "to do")
            )
            rows = f"{step.rows:,}" if step.rows is not None else ""
            size = f"{step.bytes / 1e6:,.1f}"
            grid.add_row(step.stage, escape(step.name), state, str(step.parts), rows, size)
        console.print(grid)
    return 0
