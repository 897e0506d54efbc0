"""`gloss status`: how far each step of a run, or of all runs, is."""

import argparse

from rich.box import SIMPLE
from rich.table import Table as Grid
from rich.text import Text

from flows import terminal
from flows.asked.lakes import reached, say_damage
from flows.terminal import one_line
from storage import runs


def show_status(options: argparse.Namespace) -> int:
    """How far each step of a run, or of all runs, is."""
    lake, console = reached(options.lake), terminal.console()
    found, damage = ({options.run: runs.record(lake, options.run)}, []) if options.run else runs.records(lake)
    for name, record in found.items():
        grid = Grid(title=one_line(f"{name} in {lake.uri}"), title_justify="left", box=SIMPLE)
        for column in ("stage", "of", "state", "parts", "rows", "MB"):
            numbers = column in {"parts", "rows", "MB"}
            grid.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for step in runs.states(lake, record):
            damage += step.damage
            state = _state(step)
            rows = f"{step.rows:,}" if step.rows is not None else ""
            size = f"{step.bytes / 1e6:,.1f}"
            grid.add_row(step.stage, one_line(step.name), state, str(step.parts), rows, size)
        console.print(grid)
    say_damage(damage)
    return 0


def _state(step: runs.StepState) -> Text:
    if step.committed:
        return Text("complete", "green")
    if step.damage:
        return Text("damaged", "red")
    return Text("begun", "yellow") if step.parts else Text("to do")
