"""Repair a lake before a stage: withdraw damaged parts, so that they are made anew, and remove what killed runs left.

A part that is missing or truncated is withdrawn from its manifest and its file removed, so that the stage makes exactly
that part. A manifest that cannot be read is written anew when the stage ends; the parts that exist are kept.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

from flows.plan import Plan
from flows.terminal import errors, one_line
from storage.errors import WrongRequest
from storage.lake import TEMPORARY, Lake
from storage.layout import Step

DRAFT_AGE = "GLOSS_DRAFT_AGE"
"""Environment variable: seconds after which half-written files of a killed run are removed."""
DAY = 86_400.0
"""Its default, in seconds: no write takes that long."""

_FOLDER = re.compile(re.escape(TEMPORARY) + r"[0-9a-f]{32}")


def repair_lake(plan: Plan) -> None:
    """Remove drafts and withdraw damaged parts. Raises `WrongRequest` in a read-only lake.

    Damaged parts of all stages are withdrawn, since what a run has paid is read from later stages as well.
    """
    lake = plan.lake
    remove_drafts(lake)
    for step in plan.steps:
        state = lake.state(step)
        if state.damage:
            errors().print(one_line(f"{state.damage_line()}; it is made anew"))
        if state.damaged_parts:
            lake.withdraw(step.manifest, state.damaged_parts)


def damage_lines(lake: Lake, steps: Iterable[Step]) -> list[str]:
    """A line on each of some steps of which something is damaged."""
    states = (lake.state(step) for step in steps)
    return [f"{state.damage_line()}; gloss run makes it anew" for state in states if state.damage]


def remove_drafts(lake: Lake) -> None:
    """Remove what killed runs left: drafts in the lake, and DuckDB's folders in the system's temporary folder.

    Raises `WrongRequest` for a `GLOSS_DRAFT_AGE` that is no number of seconds.
    """
    age = _age()
    with suppress(OSError):  # a read-only lake, or a server that lists no uploads
        lake.remove_drafts(age)
    oldest = time.time() - age
    for folder in Path(gettempdir()).glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if _FOLDER.fullmatch(folder.name) and _left(folder, oldest):
                shutil.rmtree(folder)


def _left(folder: Path, oldest: float) -> bool:
    """Whether a folder is this user's, and nothing was written to it since `oldest`."""
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        return False
    return all(place.stat().st_mtime <= oldest for place in (folder, *folder.iterdir()))


def _age() -> float:
    text = os.environ.get(DRAFT_AGE, "")
    try:
        age = float(text) if text else DAY
    except ValueError:
        age = -1.0
    if not 0 <= age < float("inf"):
        msg = f"{DRAFT_AGE} is {text!r}; give a number of seconds, such as {DAY:.0f}"
        raise WrongRequest(msg)
    return age
