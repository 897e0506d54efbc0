"""Manifests, the commit records of steps: what they say, and whether a file is one.

A part that was found damaged is withdrawn from its step's manifest: it is listed there under `withdrawn`, and the step
is not committed until the part has been made anew.

How a step stands in its lake: which of its parts are whole, and what is wrong with the others.

Everything is told by its manifest and a listing of its folders; no part is opened.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from storage.errors import Damaged
from storage.layout import Range, Step
from storage.tables import TABLES


class File(NamedTuple):
    """A part as it was committed."""

    bytes: int
    crc32: str | None
    """Its checksum (storage/part.py); null where it was written before parts carried one."""


@dataclass(frozen=True)
class Manifest:
    """A committed step: what it was made from and which parts it consists of."""

    step: str
    fingerprint: str
    parts: dict[str, list[str]]
    """Paths by table, in the order of their ranges."""
    rows: dict[str, int]
    """Rows by table."""
    files: Mapping[str, File] = field(default_factory=dict)
    """Size and checksum of each part, by path; empty in manifests that were written before there were any."""
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    """Parts that were found damaged since, and how: the step lacks them."""
    version: int = 0
    """Of the code that made the parts."""
    name: str = ""
    """What the step is of: a coder, an explainer, a scorer."""

    @property
    def paths(self) -> list[str]:
        """Its parts, of all tables."""
        return [path for paths in self.parts.values() for path in paths]

    def fits(self, path: str, size: int) -> bool:
        """Whether a part has the size that it was committed with; no part of ours is empty."""
        committed = self.files.get(path)
        return size == committed.bytes if committed else size > 0


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    bytes: NonNegativeInt
    crc32: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None


class _Content(BaseModel):
    """What a manifest's file holds, as far as it is read."""

    model_config = ConfigDict(strict=True)

    stage: str
    name: str = ""
    fingerprint: str
    version: int
    parts: dict[str, list[str]]
    rows: dict[str, NonNegativeInt]
    files: dict[str, _File] = {}
    withdrawn: dict[str, str] = {}


_PART = re.compile(r"(?P<table>[a-z_]+)/[0-9a-f]{16}/[0-9]{10,}-[0-9]{10,}\.parquet")
"""A part's path. Nothing else is a part, so that a manifest can name no file outside of its lake."""

_Model = TypeVar("_Model", bound=BaseModel)


def parse(path: str, data: bytes, tables: Collection[str] = ()) -> Manifest:
    """The manifest that a file holds, with parts of at least these tables. Raises `Damaged` where it holds none."""
    found = checked(path, data, _Content)
    for table, parts in found.parts.items():
        for part in parts:
            _check_part(path, table, part)
    for part in found.withdrawn:
        _check_part(path, part.split("/")[0], part)
    lacking = sorted({*tables, *found.parts} - (found.parts.keys() & found.rows.keys()))
    if lacking:
        raise Damaged(path, f"it says nothing of {', '.join(lacking)}")
    files = {part: File(file.bytes, file.crc32) for part, file in found.files.items()}
    return Manifest(
        found.stage,
        found.fingerprint,
        found.parts,
        found.rows,
        files,
        found.withdrawn,
        found.version,
        found.name,
    )


def _check_part(path: str, table: str, part: str) -> None:
    named = _PART.fullmatch(part)
    if named is None or named["table"] != table or table not in TABLES:
        raise Damaged(path, f"{part!r} is no part of {table}")


def checked(path: str, data: bytes, kind: type[_Model]) -> _Model:
    """The JSON object that a file holds. Raises `Damaged` where it is none of this kind."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Damaged(path, f"{place}: {first['msg']}" if place else first["msg"]) from None


def content(step: Step, parts: dict[str, list[str]], rows: dict[str, int], files: Mapping[str, File]) -> dict:
    """What a step's manifest says, but for the time."""
    return {
        "stage": step.stage,
        "name": step.name,
        "fingerprint": step.fingerprint,
        "address": step.address,
        "version": step.version,
        "config": dict(step.config),
        "extent": dict(step.extent),
        "parents": [parent.fingerprint for parent in step.parents],
        "parts": parts,
        "rows": rows,
        "files": {path: file._asdict() for path, file in files.items()},
    }


def without(data: bytes, damage: Mapping[str, str]) -> dict:
    """What a manifest's file holds, with some parts withdrawn; `damage` says how each is damaged."""
    held = json.loads(data)
    held["parts"] = {
        table: [part for part in parts if part not in damage] for table, parts in held["parts"].items()
    }
    held["files"] = {part: file for part, file in held.get("files", {}).items() if part not in damage}
    held["withdrawn"] = {**held.get("withdrawn", {}), **damage}
    return held


_NAMED = 3
"""Parts that a line about a step names."""


@dataclass(frozen=True)
class State:
    """One step in a lake."""

    step: Step
    manifest: Manifest | None
    """Null where there is none, or none that can be read."""
    damage: tuple[Damaged, ...]
    """Its manifest where that cannot be read; parts that it lists and that are gone or have another size."""
    done: frozenset[Range]
    """Ranges whose parts are there, in each of its tables, in the size with which they were committed."""

    @property
    def complete(self) -> bool:
        """Whether it is committed and every part is there as it was committed."""
        return self.manifest is not None and not self.manifest.withdrawn and not self.damage

    @property
    def damaged_parts(self) -> dict[str, str]:
        """Damaged parts by path, and how each is damaged."""
        return {damaged.path: damaged.how for damaged in self.damage if damaged.path != self.step.manifest}

    def told(self) -> str:
        """One line on what is damaged, with the first parts by name; empty where nothing is."""
        if not self.damage:
            return ""
        named, more = [str(damaged) for damaged in self.damage[:_NAMED]], len(self.damage) - _NAMED
        others = [f"{more:,} more of its parts"] if more > 0 else []
        return f"{self.step.stage} of {self.step.name}: {', and '.join([*named, *others])}"


def state(step: Step, manifest: Manifest | Damaged | None, sizes: Mapping[str, int]) -> State:
    """A step by its manifest, or what is wrong with that, and the sizes of the files in its folders."""
    damage: list[Damaged] = []
    if isinstance(manifest, Damaged):
        damage, manifest = [manifest], None
    if manifest is not None:
        damage += lacking(manifest, sizes)
    damaged = {one.path for one in damage}
    whole = (
        {
            part
            for path in sizes
            if path.startswith(f"{step.folder(table)}/") and path not in damaged
            if (part := Range.named(path)) is not None
        }
        for table in step.tables
    )
    return State(step, manifest, tuple(damage), frozenset(set.intersection(*whole)))


def lacking(manifest: Manifest, sizes: Mapping[str, int]) -> list[Damaged]:
    """Parts that a manifest lists and that are gone, or have another size than they were committed with."""
    found = []
    for path in manifest.paths:
        size = sizes.get(path)
        if size is None:
            found.append(Damaged(path, "it is gone"))
        elif not manifest.fits(path, size):
            committed = manifest.files.get(path)
            found.append(
                Damaged(path, f"it has {size:,} of {committed.bytes:,} bytes" if committed else "it is empty")
            )
    return found
