"""How much is asked, and how often."""

from dataclasses import dataclass

IN_FLIGHT = 256
"""Requests under way from one process."""


@dataclass(frozen=True)
class Size:
    """One size of the benchmark."""

    questions: int
    """Asked by gloss in each round."""
    peer_questions: int
    """Asked by the peer in each round, which takes much longer for each."""
    rounds: int


SIZES = {"quick": Size(4_000, 600, 3), "full": Size(20_000, 1_500, 5)}
