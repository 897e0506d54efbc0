"""A classifier of looks that learns from other features, and how well it does on those that it never saw.

Features are dealt to folds; gradient-boosted trees (scikit-learn's, with fixed settings) learn which examples are
positives from all folds but one, and rank the examples of that one. AUROC over all examples of a feature, and over all
examples of all features; of questions in which one example is to be named, the share in which the likeliest is the
right one. Intervals are of the bootstrap over features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from benchmarks.surface.looks import Frequencies, looks
from tasks.contexts.render import Shown

FOLDS = 5
RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Example:
    """An example of a question, and whether it is one of the feature's."""

    feature: int
    question: str
    shown: Shown
    positive: bool
    """In a question in which one is to be named, whether it is that one."""


class Reach(NamedTuple):
    """A number over features, with its interval."""

    value: float
    low: float
    high: float


class Result(NamedTuple):
    """What the classifier reaches."""

    features: int
    examples: int
    within: Reach
    """Mean over features of the AUROC within a feature; of named examples, the share named rightly."""
    pooled: Reach
    """AUROC over the examples of all features together."""


def judge(examples: Sequence[Example], *, named: bool, seed: int = 0) -> Result:
    """What it reaches on some examples; `named` where one example of each question is to be named."""
    features = np.array([example.feature for example in examples])
    positive = np.array([example.positive for example in examples])
    ranked = _ranked(examples, features, positive, seed)
    every = np.unique(features)
    rows = [np.flatnonzero(features == feature) for feature in every]
    if named:
        each = np.array([_named(examples, ranked, positive, own) for own in rows])
    else:
        each = np.array([roc_auc_score(positive[own], ranked[own]) for own in rows])
    draws = np.random.default_rng(seed).integers(len(every), size=(RESAMPLES, len(every)))
    return Result(
        len(every),
        len(examples),
        _reach(float(each.mean()), each[draws].mean(axis=1)),
        _pooled(ranked, positive, rows, draws),
    )


def _ranked(examples: Sequence[Example], features: np.ndarray, positive: np.ndarray, seed: int) -> np.ndarray:
    """The probability of each example by a classifier that never saw its feature, float64 (examples)."""
    every = np.random.default_rng(seed).permutation(np.unique(features))
    ranked = np.empty(len(examples))
    for fold in range(FOLDS):
        held_out = np.isin(features, every[fold::FOLDS])
        known = Frequencies(
            example.shown.text for example, out in zip(examples, held_out, strict=True) if not out
        )
        seen = np.array([looks(example.shown, known) for example in examples])
        trees = HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=15, random_state=seed)
        trees.fit(seen[~held_out], positive[~held_out])
        ranked[held_out] = trees.predict_proba(seen[held_out])[:, 1]
    return ranked


def _named(examples: Sequence[Example], ranked: np.ndarray, positive: np.ndarray, own: np.ndarray) -> float:
    """The share of a feature's questions in which the likeliest example is the right one."""
    best: dict[str, int] = {}
    for place in own:
        question = examples[place].question
        if question not in best or ranked[place] > ranked[best[question]]:
            best[question] = place
    return float(np.mean([positive[place] for place in best.values()]))


def _pooled(ranked: np.ndarray, positive: np.ndarray, rows: Sequence[np.ndarray], draws: np.ndarray) -> Reach:
    """Over all examples; a resample counts each example as often as its feature was drawn."""
    owner = np.empty(len(ranked), dtype=np.int64)
    for place, own in enumerate(rows):
        owner[own] = place
    order = np.argsort(ranked, kind="stable")
    _, ties = np.unique(ranked[order], return_inverse=True)
    owner, positive = owner[order], positive[order]

    def area(times: np.ndarray) -> float:
        weights = times[owner].astype(np.float64)
        won = np.bincount(ties, weights * positive)
        lost = np.bincount(ties, weights * ~positive)
        below = np.cumsum(lost) - lost / 2
        return float((won * below).sum() / (won.sum() * lost.sum()))

    counted = [np.bincount(draw, minlength=len(rows)) for draw in draws]
    return _reach(area(np.ones(len(rows), dtype=np.int64)), np.array([area(times) for times in counted]))


def _reach(value: float, resampled: np.ndarray) -> Reach:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Reach(value, float(low), float(high))
