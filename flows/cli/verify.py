"""`gloss verify`: reads every file of a lake, names what is damaged, and lets the next run make it anew.

A damaged part is withdrawn from every manifest that lists it, and its file removed; damaged replies are renamed.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows import terminal
from flows.cli.lake_info import reachable_lake
from storage import replies, runs
from storage.errors import Damaged, WrongRequest
from storage.integrity import check_part
from storage.lake import Lake
from storage.manifest import File, Manifest

AT_ONCE = 4
"""Files that are read at a time, each in blocks of 8 MB; one that carries no checksum is read whole."""

_MANIFEST = re.compile(r"manifests/[a-z]+/[0-9a-f]{16}\.json")


@dataclass
class Findings:
    """What a lake, or one run of it, consists of, and what is wrong with it."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    """By path."""
    used_by: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Runs by the path of a manifest that they name."""
    damage: dict[str, Damaged] = field(default_factory=dict)
    """By the path of the damaged file."""
    stray: list[Damaged] = field(default_factory=list)
    checked: int = 0
    """Files that were read."""


def show_damage(options: argparse.Namespace) -> int:
    """Verify a lake, or one run; returns 1 where something was damaged. Raises `WrongRequest` without such a run."""
    lake, console = reachable_lake(options.lake), terminal.console()
    found = verify(lake, options.run)
    for stray in found.stray:
        terminal.say_error("gloss:", f"{stray.path}: {stray.how}, and nobody reads it", "yellow")
    if not found.damage:
        console.print(f"{found.checked:,} files were read, and none is damaged.")
        return 0
    for path, damaged in sorted(found.damage.items()):
        steps = _steps(found, path)
        console.print(terminal.one_line(f"{damaged}{f' ({steps})' if steps else ''}"), soft_wrap=True)
    console.print(_conclusion(lake, found), soft_wrap=True)
    return 1


def _conclusion(lake: Lake, found: Findings) -> str:
    count = f"{len(found.damage):,} of {found.checked + len(found.damage):,} files are damaged"
    try:
        withdraw(lake, found)
    except WrongRequest as error:
        return f"{count}, and none could be withdrawn: {error}"
    return f"{count}. They are withdrawn: gloss run with the config of their runs makes them anew, and nothing else."


def verify(lake: Lake, run: str | None = None) -> Findings:
    """Read all files of a lake, or of one run. Raises `WrongRequest` where there is no such run."""
    found = Findings()
    _read_records(lake, run, found)
    _read_manifests(lake, run, found)
    committed = {
        path: manifest.files.get(path)
        for manifest in found.manifests.values()
        for path in (*manifest.paths, *manifest.withdrawn)
    }
    folders = sorted({path.rsplit("/", 1)[0] for path in committed})
    sizes = {path: size for folder in folders for path, size in lake.files(folder).items()}
    wanted: dict[str, tuple[int | None, File | None]] = {
        path: (sizes.get(path), file) for path, file in committed.items()
    }
    if run is None:
        wanted |= {path: (size, None) for path, size in replies.files(lake).items()}
    rows = _check_all(lake, wanted, found)
    for path, manifest in found.manifests.items():
        _check_rows(path, manifest, rows, found)
    return found


def withdraw(lake: Lake, found: Findings) -> None:
    """Take damaged files out of use. Raises `WrongRequest` in a read-only lake."""
    left = dict(found.damage)
    for path, manifest in found.manifests.items():
        if path in found.damage:
            lake.quarantine(path)
        elif damage := {part: found.damage[part].how for part in manifest.paths if part in found.damage}:
            lake.withdraw(path, damage)
        for part in (*manifest.paths, *manifest.withdrawn):
            left.pop(part, None)
    for path in left:
        if path.startswith(f"{replies.REPLIES.name}/"):
            lake.quarantine(path)


def _read_records(lake: Lake, run: str | None, found: Findings) -> None:
    """Which runs name which manifests."""
    found.stray = [] if run else runs.not_records(lake)
    for name in [run] if run else runs.names(lake):
        try:
            for step in runs.record(lake, name)["steps"]:
                found.used_by[step["manifest"]].append(name)
            found.checked += 1
        except Damaged as damaged:
            found.damage[damaged.path] = damaged


def _read_manifests(lake: Lake, run: str | None, found: Findings) -> None:
    for path in list(found.used_by) if run else lake.files("manifests"):
        if not _MANIFEST.fullmatch(path):
            found.stray.append(Damaged(path, "it is no manifest"))
            continue
        try:
            manifest = lake.manifest_at(path)
        except Damaged as damaged:
            found.damage[path] = damaged
            continue
        if manifest is not None:
            found.manifests[path] = manifest
            found.checked += 1


def _check_all(
    lake: Lake, wanted: Mapping[str, tuple[int | None, File | None]], found: Findings
) -> dict[str, int]:
    """Read files, some at a time; returns the rows of the whole ones, and notes the others."""
    rows: dict[str, int] = {}

    def one(path: str) -> int | Damaged:
        try:
            return check_part(lake, path, *wanted[path])
        except Damaged as damaged:
            return damaged

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for path, result in zip(wanted, _shown(pool.map(one, wanted), len(wanted)), strict=True):
            if isinstance(result, Damaged):
                found.damage[path] = result
            else:
                rows[path] = result
    found.checked += len(rows)
    return rows


def _shown(results: Iterator[int | Damaged], total: int) -> Iterator[int | Damaged]:
    """The results, with a bar on a terminal's standard error while they come."""
    console: Console = terminal.console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield from bars.track(results, total, description="reading the lake")


def _check_rows(path: str, manifest: Manifest, rows: Mapping[str, int], found: Findings) -> None:
    """Note a manifest that counts other rows than its parts hold, which are all whole."""
    for table, parts in manifest.parts.items():
        held = [rows[part] for part in parts if part in rows]
        if len(held) == len(parts) and sum(held) != manifest.rows[table] and not manifest.withdrawn:
            how = f"it counts {manifest.rows[table]:,} rows of {table}, and its parts hold {sum(held):,}"
            found.damage[path] = Damaged(path, how)


def _steps(found: Findings, path: str) -> str:
    """The steps, and the runs, that a damaged file is of."""
    named = []
    for place, manifest in found.manifests.items():
        if path == place or path in manifest.withdrawn or path in manifest.paths:
            users = ", ".join(dict.fromkeys(found.used_by.get(place, [])))
            named.append(
                f"{manifest.step} of {manifest.name}, run {users}"
                if users
                else f"{manifest.step} of {manifest.name}, no run's"
            )
    return "; ".join(named)
