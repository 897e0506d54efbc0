"""Contexts and features as the pure code gets them: small frozen records, field by field as in the tables.

They are made of rows of the tables, or written by hand for few-shot turns and tests: `He| un:7|tied| it`, tokens
between |, activation after :.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.contexts.special_tokens import NONE, SpecialTokens


@dataclass(frozen=True, slots=True)
class Context:
    """One window of a feature, as in the table `contexts`."""

    context: int
    kind: str
    decile: int | None
    strings: tuple[str, ...]
    """The text of each token; a sign for special ones (`tasks/contexts/special_tokens.py`)."""
    activations: tuple[float, ...]
    """The feature's activation on each token, 0 where it is silent."""
    near: int | None = None
    """The neighbouring feature that fires in it, where a neighbour's contexts were asked for."""
    other: int | None = None
    """Another feature that fires in it, `near` among them; None where the kind asks for none, or it is not known."""
    other_activations: tuple[float, ...] | None = None
    """That feature's activation on each token, 0 where it is silent; None where there is no other feature."""

    @property
    def activating(self) -> bool:
        """Whether the feature fires in it."""
        return self.kind == "activating"

    @property
    def peak(self) -> float:
        """Largest activation; 0 when the feature is silent."""
        return max(self.activations, default=0.0)


@dataclass(frozen=True, slots=True)
class Described:
    """A feature's properties in the table `features`, which are independent of its contexts."""

    single_token: bool | None = None
    """Whether nearly all of its firings lie on one token."""
    top_tokens: tuple[str, ...] = ()
    """The tokens on which it fires most, the first the most."""
    top_logits: tuple[str, ...] | None = None
    """The output tokens whose logits it raises most; None where they are not known."""
    bottom_logits: tuple[str, ...] | None = None
    """The output tokens whose logits it lowers most."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature with what its readers are shown, in the order in which it was drawn."""

    feature: int
    max: float
    """Largest activation over the whole cache: the scale of the integers that a reader sees."""
    contexts: tuple[Context, ...]
    described: Described | None = None
    """Only where an explainer needs it."""


CONTEXT_COLUMNS = (
    "feature",
    "context",
    "kind",
    "decile",
    "strings",
    "activations",
    "near",
    "other",
    "other_activations",
)
"""Columns of `contexts` that `features` reads, in no order."""


def features(contexts: pa.Table, samples: pa.Table, special: SpecialTokens = NONE) -> list[Feature]:
    """Rows of `contexts` and `samples` as records: one feature per row of `samples`, its contexts in their order.

    A sign stands for each of the tokens that are special.
    """
    shown = by_feature(contexts.select(list(CONTEXT_COLUMNS)).to_pylist(), special)
    return [
        Feature(row["feature"], row["max"], tuple(shown.get(row["feature"], ())))
        for row in samples.select(["feature", "max"]).to_pylist()
    ]


def by_feature(rows: Iterable[Mapping[str, Any]], special: SpecialTokens = NONE) -> dict[int, list[Context]]:
    """Rows with `CONTEXT_COLUMNS` as records, by feature, in their order."""
    shown: dict[int, list[Context]] = defaultdict(list)
    for row in rows:
        other_activations = row["other_activations"]
        shown[row["feature"]].append(
            Context(
                context=row["context"],
                kind=row["kind"],
                decile=row["decile"],
                strings=tuple(map(special.shown, row["strings"])),
                activations=tuple(row["activations"]),
                near=row["near"],
                other=row["other"],
                other_activations=None if other_activations is None else tuple(other_activations),
            )
        )
    return shown


def descriptions(rows: Sequence[Mapping[str, Any]], special: SpecialTokens = NONE) -> dict[int, Described]:
    """Rows of `features` as records, by feature; a sign stands for each of the tokens that are special."""

    def words(logits: list[dict[str, Any]] | None, key: str) -> tuple[str, ...] | None:
        return None if logits is None else tuple(special.shown(entry[key]) for entry in logits)

    return {
        row["feature"]: Described(
            single_token=row["single_token"],
            top_tokens=words(row["top_tokens"], "string") or (),
            top_logits=words(row["top_logits"], "token"),
            bottom_logits=words(row["bottom_logits"], "token"),
        )
        for row in rows
    }


_FIRING = re.compile(r"^(.*):(\d+(?:\.\d+)?)$", re.DOTALL)


def context(written: str, number: int = 0) -> Context:
    """The context that a line describes: activating when any of its tokens fires."""
    strings: list[str] = []
    activations: list[float] = []
    for piece in written.split("|"):
        fired = _FIRING.match(piece)
        strings.append(fired[1] if fired else piece)
        activations.append(float(fired[2]) if fired else 0.0)
    active = any(activations)
    return Context(
        context=number,
        kind="activating" if active else "random",
        decile=0 if active else None,
        strings=tuple(strings),
        activations=tuple(activations),
    )
