"""The division of documents among the explainer and the scorers."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tasks.sampling.documents import SIDES, divided

LENGTH, WINDOW = 8, 4


def _segments(documents: Sequence[int]) -> pa.Table:
    """One stretch per number: two to a sequence, the first three tokens and the rest."""
    places = [(i // 2, 0, 3) if i % 2 == 0 else (i // 2, 3, LENGTH) for i in range(len(documents))]
    return pa.table(
        {
            "sequence": pa.array([sequence for sequence, _, _ in places], pa.int64()),
            "first": pa.array([first for _, first, _ in places], pa.int32()),
            "end": pa.array([end for _, _, end in places], pa.int32()),
            "nth": pa.array(documents, pa.int64()),
            "random": pa.array([10 * document for document in documents], pa.uint64()),
        }
    )


def _by_hand(
    windows: list[tuple[int, int]], segments: pa.Table, explain: int, score: int
) -> tuple[list[str], dict[int, int]]:
    """The side of each window and the cut of each feature, one window after the other."""
    rows = segments.to_pylist()
    touched = [
        [
            row["nth"]
            for row in rows
            if row["sequence"] == origin // LENGTH
            and row["first"] < origin % LENGTH + WINDOW
            and origin % LENGTH < row["end"]
        ]
        for _, origin in windows
    ]
    weights: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for (feature, _), documents in zip(windows, touched, strict=True):
        for document in documents:
            weights[feature][document] += 1
    explained: dict[int, set[int]] = defaultdict(set)
    for feature, weight in weights.items():
        before = 0
        for document in sorted(weight)[:-1]:
            if before * (explain + score) < sum(weight.values()) * explain:
                explained[feature].add(document)
            before += weight[document]
    sides, cuts = [], {}
    for (feature, _), documents in zip(windows, touched, strict=True):
        inside = {document in explained[feature] for document in documents}
        sides.append({(): "either", (True,): "explain", (False,): "score"}.get(tuple(inside), "neither"))
        if sides[-1] == "explain":
            cuts[feature] = max(cuts.get(feature, 0), 10 * max(documents))
    return sides, cuts


@given(
    documents=st.lists(st.integers(0, 5), max_size=10),
    windows=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 11)), max_size=24),
    explain=st.integers(1, 4),
    score=st.integers(1, 4),
)
def test_the_explainer_gets_its_share_of_windows_in_whole_documents(
    documents: list[int], windows: set[tuple[int, int]], explain: int, score: int
) -> None:
    """Document by document in their random order, and the scorers get all others; whatever windows there are."""
    placed = [(feature, slot * WINDOW) for feature, slot in sorted(windows)]
    table = pa.table(
        {
            "feature": pa.array([feature for feature, _ in placed], pa.int32()),
            "origin": pa.array([origin for _, origin in placed], pa.int64()),
        }
    )
    segments = _segments(documents)
    division = divided(table, segments, window=WINDOW, length=LENGTH, explain=explain, score=score)
    sides, cuts = _by_hand(placed, segments, explain, score)
    assert sides == np.array(SIDES)[division.sides].tolist()
    assert cuts == dict(zip(*(division.cuts[name].to_pylist() for name in ("feature", "last")), strict=True))
