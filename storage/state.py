"""How a step stands in its lake: which of its parts are whole, and what is wrong with the others.

Everything is told by its manifest and a listing of its folders; no part is opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from storage.errors import Damaged
from storage.layout import Range, Step
from storage.manifest import Manifest

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
