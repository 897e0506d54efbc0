"""The lake that a question is about, and what of its runs is not there to answer with."""

from collections.abc import Iterable
from itertools import groupby

from flows.terminal import say_error
from storage.errors import Damaged
from storage.lake import Lake
from storage.runs import Uncommitted

NAMED = 3
"""Runs, and steps of each, that the line about what is missing names."""


def reached(uri: str) -> Lake:
    """A lake that answers. Raises `WrongRequest` for one that doesn't."""
    lake = Lake(uri)
    lake.check_reachable()
    return lake


def say_uncommitted(steps: tuple[Uncommitted, ...]) -> None:
    """One line on stderr about the steps whose rows the views lack; none where they lack nothing."""
    if not steps:
        return
    runs = [
        f"run {run} ({_some([f'{step.stage} of {step.name}' for step in found])})"
        for run, found in groupby(steps, key=lambda step: step.run)
    ]
    sentence = f"not committed yet, and so without rows here: {_some(runs)}; see gloss status"
    say_error("gloss:", sentence, "yellow")


def say_damage(damage: Iterable[Damaged]) -> None:
    """A line on stderr about each file of a lake that is damaged: what was asked is answered without it."""
    lines = dict.fromkeys(str(damaged) for damaged in damage)
    for line in lines:
        say_error("gloss:", f"{line}, and left out; gloss verify looks at the whole lake", "yellow")


def _some(words: list[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")
