"""Judgements of features by a simulated reader, as the tables that scores are made from.

Behind each verdict stands a normal deviate, whose mean is that of its class; the verdict is whether it is above 0, and
the probability its normal integral. An effect of questions is a part of the deviate that all contexts of a question
share: with one sign for both classes the reader's bias, with opposite ones its skill. One of windows is shared by the
two verdicts on a window.
"""

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import ndtr, ndtri

from benchmarks.intervals.cases import LATENT, Design
from storage.table import Table
from storage.tables import CONTEXTS, JUDGEMENTS, SAMPLES
from tasks.scorers.ask import LEVEL, Adaptive, share_interval

TOKENS = 32
"""Per simulated context."""
FIRING = (1, 4)
"""Tokens of an activating context on which the feature fires, the upper end excluded."""

SHARED = ("shared bias", "shared skill")
"""Effects that are not nothing."""

ABOUT = {"coder": "simulated", "explainer": "-", "control": "none", "scorer": "simulated", "status": "ok"}


class Asked(NamedTuple):
    """Who is asked what, arrays of shape (features, contexts): contexts of both classes in a random order."""

    contexts: np.ndarray
    """Index of the context; the activating ones come first."""
    questions: np.ndarray
    """Number of its question."""
    truths: np.ndarray


def asked(design: Design, features: int, draw: np.random.Generator) -> Asked:
    """Contexts shuffled and cut into questions, as scorers do."""
    order = draw.permuted(np.tile(np.arange(design.contexts), (features, 1)), axis=1)
    questions = np.broadcast_to(np.arange(design.contexts) // design.shown, order.shape)
    return Asked(order, questions, order < design.positives)


def deviates(
    design: Design, of: Asked, recall: float, specificity: float, effect: str, draw: np.random.Generator
) -> np.ndarray:
    """The deviate behind each verdict, positive where it is yes."""
    features = len(of.truths)
    means = np.where(of.truths, ndtri(recall), -ndtri(specificity))
    shared, latent = np.zeros(of.truths.shape), 0.0
    for kind, groups in ((effect, of.questions), (design.windows, of.contexts % design.positives)):
        if kind in SHARED:
            drawn = draw.standard_normal((features, groups.max() + 1))
            part = np.take_along_axis(drawn, groups, axis=1)
            shared += sqrt(LATENT) * np.where(of.truths | (kind == "shared bias"), part, -part)
            latent += LATENT
    return means + shared + sqrt(1 - latent) * draw.standard_normal(of.truths.shape)


def judgements(
    design: Design, features: int, recall: float, specificity: float, effect: str, draw: np.random.Generator
) -> pa.Table:
    """Rows of `judgements` of so many features."""
    of = asked(design, features, draw)
    latent = deviates(design, of, recall, specificity, effect, draw)
    kept = rounds(of, (latent > 0) == of.truths) if design.adaptive else np.ones_like(of.truths)
    columns = {
        "feature": np.broadcast_to(np.arange(features)[:, None], kept.shape)[kept],
        "context": (of.contexts % design.positives if design.windows else of.contexts)[kept],
        "request": of.questions[kept].astype(str),
        "truth": of.truths[kept],
    }
    if design.kind == "values":
        columns["value"] = latent[kept]
    else:
        columns["verdict"] = latent[kept] > 0
    if design.kind == "verdicts":
        columns["probability"] = ndtr(latent[kept])
    return filled(JUDGEMENTS, columns | {"explanation_of": columns["feature"]})


def rounds(of: Asked, right: np.ndarray) -> np.ndarray:
    """Which contexts are judged, where asking stops by the rule of `adaptive` with its defaults."""
    rule = Adaptive()
    questions = of.questions.max() + 1
    kept = np.zeros_like(of.truths)
    for feature in range(len(kept)):
        for last in range(rule.round, questions + rule.round, rule.round):
            kept[feature] = of.questions[feature] < last
            widths = []
            for truth in (True, False):
                own = of.truths[feature] == truth
                counted = kept[feature] & own
                ends = share_interval(
                    int(right[feature][counted].sum()), int(counted.sum()), int(own.sum()), LEVEL / 2
                )
                widths.append(ends.high - ends.low)
            if sum(widths) / 4 <= rule.half_width:
                break
    return kept


def simulated(
    design: Design, features: int, pearson: float, effect: str, draw: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """Rows of `judgements` and of `contexts` of a simulation that has this correlation with the activations.

    Half of the contexts are activating; an effect of questions is a fifth of the noise, which a context's tokens share.
    """
    shape = (features, design.contexts, TOKENS)
    firing = draw.integers(*FIRING, size=shape[:2])
    firing[:, design.positives :] = 0
    fires = draw.permuted(np.broadcast_to(np.arange(TOKENS), shape), axis=2) < firing[:, :, None]
    facts = np.where(fires, draw.exponential(size=shape), 0)
    # Of an exponential strength on a share of the tokens: mean, and mean square.
    share = design.positives / design.contexts * (FIRING[0] + FIRING[1] - 1) / 2 / TOKENS
    spread = sqrt(2 * share - share**2)
    shared = 0.2 if effect == "shared skill" else 0.0
    noise = sqrt(shared) * draw.standard_normal((*shape[:2], 1)) + sqrt(1 - shared) * draw.standard_normal(
        shape
    )
    guesses = pearson * (facts - share) / spread + sqrt(1 - pearson**2) * noise
    places = {
        "feature": np.repeat(np.arange(features), design.contexts),
        "context": np.tile(np.arange(design.contexts), features),
    }
    activating = places["context"] < design.positives
    kinds = np.where(activating, "activating", "silent")
    return (
        filled(
            JUDGEMENTS,
            places
            | {
                "explanation_of": places["feature"],
                "request": places["context"].astype(str),
                "truth": activating,
                "simulated": _lists(guesses),
            },
        ),
        filled(CONTEXTS, places | {"kind": kinds, "activations": _lists(facts)}),
    )


def contexts(design: Design, features: int) -> pa.Table:
    """Rows of `contexts` of so many features."""
    each = design.positives if design.windows else design.contexts
    numbers = np.tile(np.arange(each), features)
    kinds = np.where(numbers < design.positives, "activating", "silent")
    return filled(
        CONTEXTS,
        {"feature": np.repeat(np.arange(features), each), "context": numbers, "kind": kinds},
    )


def samples(features: int, density: float) -> pa.Table:
    """Rows of `samples` of features that fire in this share of the windows."""
    total = 10_000
    return filled(
        SAMPLES,
        {
            "feature": np.arange(features),
            "windows": np.full(features, round(density * total)),
            "windows_total": np.full(features, total),
        },
    )


def filled(table: Table, columns: Mapping[str, np.ndarray | pa.Array]) -> pa.Table:
    """Rows in which only some columns matter: the others are null, or nothing of their type."""
    known = {name: pa.array(values) for name, values in columns.items()}
    length = len(next(iter(known.values())))
    made = []
    for field in table.schema:
        if field.name in known:
            made.append(known[field.name].cast(field.type))
        elif field.nullable:
            made.append(pa.nulls(length, field.type))
        elif pa.types.is_list(field.type):
            offsets = pa.array(np.zeros(length + 1, np.int32))
            empty = pa.array([], field.type.value_type)
            made.append(pa.ListArray.from_arrays(offsets, empty, type=field.type))
        else:
            about = ABOUT.get(field.name, "" if pa.types.is_string(field.type) else 0)
            made.append(pa.repeat(pa.scalar(about).cast(field.type), length))
    return pa.table(made, schema=table.schema)


def _lists(values: np.ndarray) -> pa.Array:
    """One list per context."""
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[-1])
