"""Manifests, the commit records of steps, and the state of a step: which of its parts exist, and which are damaged.

A damaged part is withdrawn from its step's manifest: it is listed there under `withdrawn`, and the step is not
committed until the part has been made again. The state of a step follows from its manifest and a listing of its
folders; no part is opened.
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
    """Its checksum (storage/part.py); None in parts that were written before there were checksums."""


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
    """Size and checksum of each part, by path; empty in manifests of older versions."""
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    """Damaged parts, with the kind of damage: the step lacks them."""
    version: int = 0
    """Version of the code that made the parts."""
    name: str = ""
    """The component of the step: a coder, an explainer, a scorer."""

    @property
    def paths(self) -> list[str]:
        """Its parts, of all tables."""
        return [path for paths in self.parts.values() for path in paths]

    def fits(self, path: str, size: int) -> bool:
        """Whether a part has its committed size; where none is recorded, whether it is not empty."""
        committed = self.files.get(path)
        return size == committed.bytes if committed else size > 0


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    bytes: NonNegativeInt
    crc32: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")] | None


class _Content(BaseModel):
    """The fields of a manifest's file that are read."""

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
"""A part's path. Any other path is refused, so that a manifest can name no file outside of its lake."""

_Model = TypeVar("_Model", bound=BaseModel)


def parse(path: str, data: bytes, tables: Collection[str] = ()) -> Manifest:
    """The manifest in a file, with parts of at least these tables. Raises `Damaged` where it holds no manifest."""
    validated = checked(path, data, _Content)
    for table, parts in validated.parts.items():
        for part in parts:
            _check_part(path, table, part)
    for part in validated.withdrawn:
        _check_part(path, part.split("/")[0], part)
    lacking = sorted({*tables, *validated.parts} - (validated.parts.keys() & validated.rows.keys()))
    if lacking:
        raise Damaged(path, f"it says nothing of {', '.join(lacking)}")
    files = {part: File(file.bytes, file.crc32) for part, file in validated.files.items()}
    return Manifest(
        validated.stage,
        validated.fingerprint,
        validated.parts,
        validated.rows,
        files,
        validated.withdrawn,
        validated.version,
        validated.name,
    )


def _check_part(path: str, table: str, part: str) -> None:
    named = _PART.fullmatch(part)
    if named is None or named["table"] != table or table not in TABLES:
        raise Damaged(path, f"{part!r} is no part of {table}")


def checked(path: str, data: bytes, kind: type[_Model]) -> _Model:
    """The JSON object in a file, validated. Raises `Damaged` where it doesn't fit the model `kind`."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Damaged(path, f"{place}: {first['msg']}" if place else first["msg"]) from None


def content(step: Step, parts: dict[str, list[str]], rows: dict[str, int], files: Mapping[str, File]) -> dict:
    """The content of a step's manifest, without the time of the commit."""
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
    """The content of a manifest's file with some parts withdrawn; `damage` has the kind of damage of each."""
    record = json.loads(data)
    record["parts"] = {
        table: [part for part in parts if part not in damage] for table, parts in record["parts"].items()
    }
    record["files"] = {part: file for part, file in record.get("files", {}).items() if part not in damage}
    record["withdrawn"] = {**record.get("withdrawn", {}), **damage}
    return record


_NAMED = 3
"""Damaged parts that a line about a step names."""


@dataclass(frozen=True)
class State:
    """State of one step in a lake."""

    step: Step
    manifest: Manifest | None
    """None where there is none, or it cannot be read."""
    damage: tuple[Damaged, ...]
    """Its manifest if that cannot be read; its listed parts that are missing or have another size."""
    done: frozenset[Range]
    """Ranges whose parts exist in each of its tables, in their committed size."""

    @property
    def complete(self) -> bool:
        """Whether it is committed and every part exists in its committed size."""
        return self.manifest is not None and not self.manifest.withdrawn and not self.damage

    @property
    def damaged_parts(self) -> dict[str, str]:
        """Kind of damage by path of each damaged part."""
        return {damaged.path: damaged.how for damaged in self.damage if damaged.path != self.step.manifest}

    def damage_line(self) -> str:
        """One line on the damaged parts, which names the first ones; empty where there are none."""
        if not self.damage:
            return ""
        named, more = [str(damaged) for damaged in self.damage[:_NAMED]], len(self.damage) - _NAMED
        others = [f"{more:,} more of its parts"] if more > 0 else []
        return f"{self.step.stage} of {self.step.name}: {', and '.join([*named, *others])}"


def state(step: Step, manifest: Manifest | Damaged | None, sizes: Mapping[str, int]) -> State:
    """State of a step from its manifest, or the damage to that, and the sizes of the files in its folders."""
    damage: list[Damaged] = []
    if isinstance(manifest, Damaged):
        damage, manifest = [manifest], None
    if manifest is not None:
        damage += lacking(manifest, sizes)
    damaged = {damage_of.path for damage_of in damage}
    intact = (
        {
            part
            for path in sizes
            if path.startswith(f"{step.folder(table)}/") and path not in damaged
            if (part := Range.named(path)) is not None
        }
        for table in step.tables
    )
    return State(step, manifest, tuple(damage), frozenset(set.intersection(*intact)))


def lacking(manifest: Manifest, sizes: Mapping[str, int]) -> list[Damaged]:
    """Parts that a manifest lists and that are missing, or don't have their committed size."""
    damage = []
    for path in manifest.paths:
        size = sizes.get(path)
        if size is None:
            damage.append(Damaged(path, "it is gone"))
        elif not manifest.fits(path, size):
            committed = manifest.files.get(path)
            damage.append(
                Damaged(path, f"it has {size:,} of {committed.bytes:,} bytes" if committed else "it is empty")
            )
    return damage
