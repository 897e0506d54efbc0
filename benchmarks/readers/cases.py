"""How much is asked, and how often."""

from dataclasses import dataclass

IN_FLIGHT = 256
"""Requests under way from one process."""
COMPARED = (1, 5, 20)
"""Contexts per question that are held against each other."""
USUAL = 5
"""The paper's, which ranks are held against."""


@dataclass(frozen=True)
class Size:
    """One size of the benchmark."""

    questions: int
    """Asked by gloss in each round."""
    peer_questions: int
    """Asked by the peer in each round, which takes much longer for each."""
    rounds: int
    features: int
    """Of a run, judged with each number of contexts per question, at most."""
    contexts: int
    """Asked about by gloss in each round, with each number of contexts per question; whole features of 100."""
    real_features: int = 1
    """Of a run, judged by a real model in process in each of its rounds."""
    real_rounds: int = 3


SIZES = {
    "quick": Size(4_000, 600, 3, features=24, contexts=4_000, real_rounds=1),
    "full": Size(20_000, 1_500, 5, features=200, contexts=20_000),
}
