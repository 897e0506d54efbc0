"""Paths of all files of a lake, and fingerprints of steps, which decide whether a step has to run again.

<table>/<address>/<first>-<end>.parquet     parts
manifests/<stage>/<fingerprint>.json        commit records, written last
runs/<run>.json                             a run's config and its steps
leases/<run>.<id>.json                      commands that are working on a run
replies/<reader>/<first>-<end>-<when>.parquet    cached replies (storage/replies.py)
readers/<reader>.json                       what runs have learnt about a reader's servers
sites/<address>.json                        mean and deviation of the site that a coder is made for
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

_PART = re.compile(r"([0-9]{10,})-([0-9]{10,})\.parquet")


class Range(NamedTuple):
    """A half-open range of sequences (a shard) or of features (a bucket)."""

    first: int
    end: int

    @property
    def name(self) -> str:
        """Its file name, which sorts as the range does."""
        return f"{self.first:010d}-{self.end:010d}.parquet"

    @classmethod
    def of(cls, path: str) -> "Range":
        """The range that a part's path names. Raises `ValueError` for a path that is no part's."""
        match = _PART.fullmatch(path.rsplit("/", 1)[-1])
        if match is None:
            msg = f"{path} is not named as a part is"
            raise ValueError(msg)
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def named(cls, path: str) -> "Range | None":
        """The range that a path names, or None where it is no part's."""
        return cls.of(path) if _PART.fullmatch(path.rsplit("/", 1)[-1]) else None


def ranges(total: int, size: int) -> list[Range]:
    """`[0, total)` cut into ranges of `size`; the last one may be shorter."""
    return [Range(first, min(first + size, total)) for first in range(0, total, size)]


def overlapping(parts: Iterable[str], wanted: Range) -> list[str]:
    """The parts whose ranges overlap the wanted one; no others need to be opened."""
    return [part for part in parts if Range.of(part).first < wanted.end and wanted.first < Range.of(part).end]


def holding(parts: Iterable[str], places: Sequence[int]) -> list[str]:
    """The parts whose ranges hold any of `places`, which ascend; no others need to be opened."""
    return [part for part in parts if len({bisect_left(places, end) for end in Range.of(part)}) > 1]


@dataclass(frozen=True)
class Step:
    """One stage of a run for one component (a coder, an explainer, a scorer).

    Its fingerprint is the hash of its config, its parents' fingerprints and the version of the code that makes its
    rows: equal fingerprints mean equal tables. A step that `extends` writes parts that a longer one can reuse, so their
    address leaves out `extent`, the amount of data.
    """

    stage: str
    name: str
    tables: tuple[str, ...]
    """The tables it writes; a range is done when its part of the last table exists."""
    config: Mapping[str, object]
    version: int
    parents: tuple["Step", ...] = ()
    extent: Mapping[str, object] = field(default_factory=dict)
    extends: bool = False

    def __hash__(self) -> int:
        """Hash of the fingerprint, since configs are mappings."""
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits."""
        return _hash([*self._content, self.extent, [parent.fingerprint for parent in self.parents]])

    @cached_property
    def address(self) -> str:
        """The folder of its parts inside each table."""
        if not self.extends:
            return self.fingerprint
        return _hash([*self._content, [parent.address for parent in self.parents]])

    @property
    def _content(self) -> list[object]:
        return [self.stage, self.name, self.config, self.version]

    @property
    def manifest(self) -> str:
        """Path of its commit record."""
        return f"manifests/{self.stage}/{self.fingerprint}.json"

    def folder(self, table: str) -> str:
        """Path of its parts of a table."""
        return f"{table}/{self.address}"

    def part(self, table: str, part: Range) -> str:
        """Path of one part."""
        return f"{self.folder(table)}/{part.name}"


def addresses(steps: Iterable[Step]) -> tuple[str, ...]:
    """Addresses of the parts of some steps, which identify what the parts are made from."""
    return tuple(step.address for step in steps)


def _hash(content: object) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
