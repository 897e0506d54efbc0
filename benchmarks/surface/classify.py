"""A classifier of surface cues that learns from other features, and how well it does on those that it never saw.

Gradient-boosted trees (scikit-learn's, with fixed settings) learn from all folds but one which examples are positives,
and rank the examples of that one. Features are dealt to folds together with those whose windows are among their
negatives; what is left of such windows in two folds is not learned from. A classifier would else know a feature's
negatives as another's positives. AUROC over all examples of a feature, and over all examples of all features; of
questions in which one example is to be named, the share in which the likeliest is the right one. Intervals are of the
bootstrap over groups of features.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from benchmarks.surface.cues import Frequencies, compared, cues
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
    source: int
    """The feature that is known to fire in it: its own, or another whose window it is."""
    group: int
    """Of features that have windows of one another, or of the same other one."""
    beside: tuple[Shown, ...] = ()
    """The other examples of the question."""


class Reach(NamedTuple):
    """A number over features, with its interval."""

    value: float
    low: float
    high: float

    @property
    def farthest(self) -> float:
        """The end of the interval that is farther from 0.5, as if it lay above: a classifier may be turned round."""
        return max(self.high, 1 - self.low)


class Result(NamedTuple):
    """What the classifier reaches."""

    features: int
    groups: int
    examples: int
    within: Reach
    """Mean over features of the AUROC within a feature; of named examples, the share named rightly."""
    pooled: Reach
    """AUROC over the examples of all features together."""
    left_out: int
    """Features whose examples are of one class, which have no AUROC."""


def of_both_classes(examples: Sequence[Example]) -> list[Example]:
    """Those of features that have positives and negatives among them."""
    classes: dict[int, set[bool]] = defaultdict(set)
    for example in examples:
        classes[example.feature].add(example.positive)
    return [example for example in examples if len(classes[example.feature]) == 2]


def judge(given: Sequence[Example], *, named: bool, beside: bool = False, seed: int = 0) -> Result:
    """What it reaches on some examples.

    `named` where one example of each question is to be named; `beside` where it compares each with the others of its
    question, instead of seeing each alone. Features whose examples are of one class are left out.
    """
    examples = of_both_classes(given)
    features = np.array([example.feature for example in examples])
    groups = np.array([example.group for example in examples])
    positive = np.array([example.positive for example in examples])
    ranked = _ranked(examples, groups, positive, beside=beside, seed=seed)
    every, first = np.unique(features, return_index=True)
    rows = [np.flatnonzero(features == feature) for feature in every]
    if named:
        each = np.array([_named(examples, ranked, positive, own) for own in rows])
    else:
        each = np.array([roc_auc_score(positive[own], ranked[own]) for own in rows])
    together, group = np.unique(groups[first], return_inverse=True)
    draws = np.random.default_rng(seed).integers(len(together), size=(RESAMPLES, len(together)))
    sums, sizes = np.bincount(group, each), np.bincount(group)
    return Result(
        len(every),
        len(together),
        len(examples),
        _reach(float(each.mean()), sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)),
        _pooled(ranked, positive, [np.flatnonzero(groups == group) for group in together], draws),
        len({example.feature for example in given}) - len(every),
    )


def _ranked(
    examples: Sequence[Example], groups: np.ndarray, positive: np.ndarray, *, beside: bool, seed: int
) -> np.ndarray:
    """The probability of each example by a classifier that never saw its group, float64 (examples)."""
    every = np.random.default_rng(seed).permutation(np.unique(groups))
    sources = np.array([example.source for example in examples])
    seen = _seen(examples, beside=beside)
    ranked = np.empty(len(examples))
    for fold in range(FOLDS):
        held_out = np.isin(groups, every[fold::FOLDS])
        learned = ~held_out & ~np.isin(sources, sources[held_out])
        trees = HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=15, random_state=seed)
        trees.fit(seen[learned], positive[learned])
        ranked[held_out] = trees.predict_proba(seen[held_out])[:, 1]
    return ranked


def _seen(examples: Sequence[Example], *, beside: bool) -> np.ndarray:
    """The cues of each example, float64 (examples, cues)."""
    texts: dict[int, set[str]] = defaultdict(set)
    sharing: dict[int, set[int]] = defaultdict(set)
    for example in examples:
        texts[example.feature].add(example.shown.text)
        sharing[example.source].add(example.feature)
    related: dict[int, set[int]] = defaultdict(set)
    for example in examples:
        related[example.feature] |= sharing[example.source]
    frequencies = Frequencies(texts)
    known = {feature: frequencies.without(others) for feature, others in related.items()}
    seen = np.array([cues(example.shown, known[example.feature]) for example in examples])
    if not beside:
        return seen
    return np.column_stack([seen, [compared(example.shown, example.beside) for example in examples]])


def _named(examples: Sequence[Example], ranked: np.ndarray, positive: np.ndarray, own: np.ndarray) -> float:
    """The share of a feature's questions in which the likeliest example is the right one."""
    best: dict[str, int] = {}
    for place in own:
        question = examples[place].question
        if question not in best or ranked[place] > ranked[best[question]]:
            best[question] = place
    return float(np.mean([positive[place] for place in best.values()]))


def _pooled(ranked: np.ndarray, positive: np.ndarray, rows: Sequence[np.ndarray], draws: np.ndarray) -> Reach:
    """Over all examples; a resample counts each example as often as its group was drawn."""
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
