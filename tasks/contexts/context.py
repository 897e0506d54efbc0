"""What the pure code sees of a context and of its feature: small frozen records, field by field as in the tables."""

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Context:
    """One window of a feature, as in the table `contexts`."""

    context: int
    kind: str
    decile: int | None
    strings: tuple[str, ...]
    """The text of each token."""
    activations: tuple[float, ...]
    """The feature's activation on each token, 0 where it is silent."""

    @property
    def activating(self) -> bool:
        """Whether the feature fires in it."""
        return self.kind == "activating"

    @property
    def peak(self) -> float:
        """Largest activation; 0 when the feature is silent."""
        return max(self.activations, default=0.0)


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature with what its readers are shown, in the order in which it was drawn."""

    feature: int
    max: float
    """Largest activation over the whole cache: the scale of the integers that a reader sees."""
    contexts: tuple[Context, ...]


def features(contexts: pa.Table, samples: pa.Table) -> list[Feature]:
    """Rows of `contexts` and `samples` as records: one feature per row of `samples`, its contexts in their order."""
    shown: dict[int, list[Context]] = defaultdict(list)
    wanted = ["feature", "context", "kind", "decile", "strings", "activations"]
    for row in contexts.select(wanted).to_pylist():
        shown[row["feature"]].append(
            Context(
                context=row["context"],
                kind=row["kind"],
                decile=row["decile"],
                strings=tuple(row["strings"]),
                activations=tuple(row["activations"]),
            )
        )
    return [
        Feature(row["feature"], row["max"], tuple(shown[row["feature"]]))
        for row in samples.select(["feature", "max"]).to_pylist()
    ]
