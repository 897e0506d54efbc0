"""How often intervals contain the true value: simulated judgements through the statements that make every score."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import sqrt
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import ndtr, ndtri

from benchmarks.intervals import draw as drawn
from benchmarks.intervals.cases import DENSITY, Design, Size
from storage.lake import Lake
from storage.scores import scores
from storage.tables import CONTEXTS, JUDGEMENTS, SAMPLES

LEAST, MOST = 0.05, 0.95
"""True values between which intervals have to keep their level."""


class Coverage(NamedTuple):
    """What was found at one true value."""

    truth: float
    share: float
    """Of the intervals that contain it."""
    width: float
    """Mean, from end to end."""


def coverage(
    design: Design, effect: str, size: Size, lake: Lake, *, apart: bool = False
) -> dict[str, list[Coverage]]:
    """For each number, how often its intervals contain each of its true values.

    `apart` takes each context's question for its own, as if it did not matter that several are asked at once.
    """
    coverages: dict[str, list[Coverage]] = defaultdict(list)
    lake.write(SAMPLES, "samples", drawn.samples(size.features, DENSITY))
    if design.kind != "simulations":
        lake.write(CONTEXTS, "contexts", drawn.contexts(design, size.features))
    for truths, judgements in _judged(design, effect, size, lake):
        lake.write(JUDGEMENTS, "judgements", _apart(judgements) if apart else judgements)
        judged, shown, sampled = ([lake.path(name)] for name in ("judgements", "contexts", "samples"))
        with lake.connect(threads=1) as connection:
            rows = scores(connection, judged, shown, sampled)
        for name, truth in truths.items():
            ends = [
                np.array(rows[f"{name}_{end}"].to_numpy(zero_copy_only=False), float)
                for end in ("low", "high")
            ]
            known = ~np.isnan(ends[0])
            if LEAST - 1e-9 <= truth.mean() <= MOST + 1e-9 and known.any():
                low, high = ends
                contains = (low <= truth + 1e-9) & (high >= truth - 1e-9)
                coverages[name].append(
                    Coverage(
                        float(truth.mean()), float(contains[known].mean()), float((high - low)[known].mean())
                    )
                )
    return dict(coverages)


def _judged(
    design: Design, effect: str, size: Size, lake: Lake
) -> Iterator[tuple[Mapping[str, np.ndarray], pa.Table]]:
    """The truth of each number for each feature, and judgements that were drawn with it."""
    seed = [ord(letter) for letter in f"{design.name} {effect}"]
    draw = np.random.default_rng(seed)
    if design.kind == "simulations":
        for pearson in np.linspace(LEAST, MOST, 2 * len(size.shares) - 1):
            judgements, contexts = drawn.simulated(design, size.features, pearson, effect, draw)
            lake.write(CONTEXTS, "contexts", contexts)
            yield {"pearson": np.full(size.features, pearson)}, judgements
        return
    for recall, specificity in size.pairs:
        if design.kind == "choices" and specificity != size.shares[0]:
            continue
        judgements = drawn.judgements(design, size.features, recall, specificity, effect, draw)
        yield _truths(design, judgements, recall, specificity), judgements


def _apart(judgements: pa.Table) -> pa.Table:
    place = judgements.schema.get_field_index("request")
    return judgements.set_column(place, "request", judgements["context"].cast(pa.string()))


def _truths(design: Design, judgements: pa.Table, recall: float, specificity: float) -> dict[str, np.ndarray]:
    """What each number is where contexts are innumerable, and as many of each class as were judged.

    Arrays of (features,): where asking stops early features differ in that.
    """
    features, active = (np.asarray(judgements[name]) for name in ("feature", "truth"))
    shares = np.bincount(features, weights=active) / np.bincount(features)
    if design.kind == "choices":
        return {"accuracy": np.full(len(shares), recall)}
    distinct, places = np.unique(shares, return_inverse=True)
    truths = [true_values(float(share), recall, specificity) for share in distinct]
    # A squared distance and a verdict are there where verdicts are asked for.
    names = [name for name in truths[0] if design.kind == "verdicts" or name in ("auroc", "auprc")]
    # Average precision of a reader worse than a coin is bounded below and hardly varies: it is left out.
    return {
        name: np.array([truth[name] for truth in truths])[places]
        for name in names
        if name != "auprc" or recall + specificity >= 1
    }


def true_values(share: float, recall: float, specificity: float) -> dict[str, float]:
    """Each number, where this share of the contexts is activating."""
    active, silent = ndtri(recall), -ndtri(specificity)
    deviates = np.linspace(-9, 9, 4_001)
    hits, alarmed = share * ndtr(active - deviates), (1 - share) * ndtr(silent - deviates)
    alarms = 1 - specificity
    named = recall + alarms * (1 - share) / share
    right = _mean((ndtr(deviates) - 1) ** 2, deviates - active, deviates)
    wrong = _mean(ndtr(deviates) ** 2, deviates - silent, deviates)
    return {
        "recall": recall,
        "specificity": specificity,
        "accuracy": share * recall + (1 - share) * specificity,
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": recall / named,
        "weighted_precision": DENSITY * recall / (DENSITY * recall + (1 - DENSITY) * alarms),
        "f1": 2 * recall / (1 + named),
        "auroc": float(ndtr((active - silent) / sqrt(2))),
        "auprc": _mean(hits / (hits + alarmed), deviates - active, deviates),
        "brier": share * right + (1 - share) * wrong,
    }


def _mean(values: np.ndarray, deviates: np.ndarray, along: np.ndarray) -> float:
    """Mean of values at standard normal deviates."""
    return float(np.trapezoid(values * np.exp(-(deviates**2) / 2) / sqrt(2 * np.pi), along))
