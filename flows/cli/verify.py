"""`gloss verify`: reads every file of a lake, prints the damaged ones and takes them out of use.

A damaged part is withdrawn from every manifest that lists it, and its file removed; a damaged file of replies is
renamed. The next run makes the parts anew.
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
"""Files read concurrently, each in blocks of 8 MB; a file without a checksum is read whole."""

_MANIFEST = re.compile(r"manifests/[a-z]+/[0-9a-f]{16}\.json")


@dataclass
class Findings:
    """The manifests of a lake, or of one run, and its damaged files."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    """By path."""
    used_by: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Runs by the path of a manifest that they name."""
    damage: dict[str, Damaged] = field(default_factory=dict)
    """By the path of the damaged file."""
    stray: list[Damaged] = field(default_factory=list)
    checked: int = 0
    """Count of files that were read."""


def show_damage(options: argparse.Namespace) -> int:
    """Verify a lake, or one run; returns 1 where something was damaged. Raises `WrongRequest` without such a run."""
    lake, console = reachable_lake(options.lake), terminal.console()
    findings = verify_lake(lake, options.run)
    for stray in findings.stray:
        terminal.say_error("gloss:", f"{stray.path}: {stray.how}, and nobody reads it", "yellow")
    if not findings.damage:
        console.print(f"{findings.checked:,} files were read, and none is damaged.")
        return 0
    for path, damaged in sorted(findings.damage.items()):
        steps = _steps(findings, path)
        console.print(terminal.one_line(f"{damaged}{f' ({steps})' if steps else ''}"), soft_wrap=True)
    console.print(_conclusion(lake, findings), soft_wrap=True)
    return 1


def _conclusion(lake: Lake, findings: Findings) -> str:
    count = f"{len(findings.damage):,} of {findings.checked + len(findings.damage):,} files are damaged"
    try:
        withdraw_damaged(lake, findings)
    except WrongRequest as error:
        return f"{count}, and none could be withdrawn: {error}"
    return f"{count}. They are withdrawn: gloss run with the config of their runs makes them anew, and nothing else."


def verify_lake(lake: Lake, run: str | None = None) -> Findings:
    """Read all files of a lake, or of one run. Raises `WrongRequest` where there is no such run."""
    findings = Findings()
    _read_records(lake, run, findings)
    _read_manifests(lake, run, findings)
    committed = {
        path: manifest.files.get(path)
        for manifest in findings.manifests.values()
        for path in (*manifest.paths, *manifest.withdrawn)
    }
    folders = sorted({path.rsplit("/", 1)[0] for path in committed})
    sizes = {path: size for folder in folders for path, size in lake.files(folder).items()}
    wanted: dict[str, tuple[int | None, File | None]] = {
        path: (sizes.get(path), file) for path, file in committed.items()
    }
    if run is None:
        wanted |= {path: (size, None) for path, size in replies.files(lake).items()}
    rows = _check_all(lake, wanted, findings)
    for path, manifest in findings.manifests.items():
        _check_rows(path, manifest, rows, findings)
    return findings


def withdraw_damaged(lake: Lake, findings: Findings) -> None:
    """Take damaged files out of use. Raises `WrongRequest` in a read-only lake."""
    left = dict(findings.damage)
    for path, manifest in findings.manifests.items():
        if path in findings.damage:
            lake.quarantine(path)
        elif damage := {
            part: findings.damage[part].how for part in manifest.paths if part in findings.damage
        }:
            lake.withdraw(path, damage)
        for part in (*manifest.paths, *manifest.withdrawn):
            left.pop(part, None)
    for path in left:
        if path.startswith(f"{replies.REPLIES.name}/"):
            lake.quarantine(path)


def _read_records(lake: Lake, run: str | None, findings: Findings) -> None:
    """Fill in `used_by` from the records of the runs."""
    findings.stray = [] if run else runs.not_records(lake)
    for name in [run] if run else runs.names(lake):
        try:
            for step in runs.record(lake, name)["steps"]:
                findings.used_by[step["manifest"]].append(name)
            findings.checked += 1
        except Damaged as damaged:
            findings.damage[damaged.path] = damaged


def _read_manifests(lake: Lake, run: str | None, findings: Findings) -> None:
    for path in list(findings.used_by) if run else lake.files("manifests"):
        if not _MANIFEST.fullmatch(path):
            findings.stray.append(Damaged(path, "it is no manifest"))
            continue
        try:
            manifest = lake.manifest_at(path)
        except Damaged as damaged:
            findings.damage[path] = damaged
            continue
        if manifest is not None:
            findings.manifests[path] = manifest
            findings.checked += 1


def _check_all(
    lake: Lake, wanted: Mapping[str, tuple[int | None, File | None]], findings: Findings
) -> dict[str, int]:
    """Read files concurrently; returns the rows of the undamaged ones by path, and adds the others to `damage`."""
    rows: dict[str, int] = {}

    def check_file(path: str) -> int | Damaged:
        try:
            return check_part(lake, path, *wanted[path])
        except Damaged as damaged:
            return damaged

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for path, result in zip(wanted, _shown(pool.map(check_file, wanted), len(wanted)), strict=True):
            if isinstance(result, Damaged):
                findings.damage[path] = result
            else:
                rows[path] = result
    findings.checked += len(rows)
    return rows


def _shown(results: Iterator[int | Damaged], total: int) -> Iterator[int | Damaged]:
    """The results as they come, with a progress bar where standard error is a terminal."""
    console: Console = terminal.console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield from bars.track(results, total, description="reading the lake")


def _check_rows(path: str, manifest: Manifest, rows: Mapping[str, int], findings: Findings) -> None:
    """Add a manifest to `damage` whose row count differs from that of its undamaged parts."""
    for table, parts in manifest.parts.items():
        held = [rows[part] for part in parts if part in rows]
        if len(held) == len(parts) and sum(held) != manifest.rows[table] and not manifest.withdrawn:
            how = f"it counts {manifest.rows[table]:,} rows of {table}, and its parts hold {sum(held):,}"
            findings.damage[path] = Damaged(path, how)


def _steps(findings: Findings, path: str) -> str:
    """The steps and runs that use a damaged file, as a clause."""
    named = []
    for place, manifest in findings.manifests.items():
        if path == place or path in manifest.withdrawn or path in manifest.paths:
            users = ", ".join(dict.fromkeys(findings.used_by.get(place, [])))
            named.append(
                f"{manifest.step} of {manifest.name}, run {users}"
                if users
                else f"{manifest.step} of {manifest.name}, no run's"
            )
    return "; ".join(named)
