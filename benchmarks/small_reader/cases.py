"""What is measured: scorers of a base model, layouts of judges' and explainers' prompts, and how much."""

from collections.abc import Mapping
from dataclasses import dataclass

SCORERS: Mapping[str, Mapping[str, object]] = {
    "surprisal": {},
    # Most small models take the number 10 apart.
    "simulation": {"highest": 9},
}
"""Scorers that read log-probabilities, with their options."""

EXACT = frozenset({"surprisal"})
"""Scorers whose differences of sums would drown in what bfloat16 rounds off: a reader in this process computes them in
float32."""

JUDGES = ("detection", "fuzzing")
"""Scorers that ask by chat, several contexts at once."""

LAYOUTS: Mapping[str, Mapping[str, object]] = {
    "usual": {},
    "no few-shots": {"shots": "none"},
    "instructions at both ends": {"instruction": "both"},
    "no few-shots and instructions last": {"shots": "none", "instruction": "last"},
    "one context": {"shown": 1},
    "one context and no few-shots": {"shown": 1, "shots": "none"},
}
"""Of judges' prompts, by what tables call them."""

EXPLAINERS: Mapping[str, Mapping[str, object]] = {
    "usual": {},
    "no few-shots": {"shots": "none"},
    "instructions at both ends": {"instruction": "both"},
    "no few-shots and instructions last": {"shots": "none", "instruction": "last"},
    "strongest contexts last": {"order": "weakest"},
}
"""Of the explainer's."""

MAX_TOKENS = 120
"""Longest explanation: four times as long as those of few-shots."""


@dataclass(frozen=True)
class Size:
    """How much of a run is asked about."""

    features: int | None
    """Features whose explanations are judged by surprisal and simulation; null takes all of the run's."""
    surprisal: int
    """Contexts per feature."""
    simulation: int
    layouts: int
    """Features whose explanations are judged with each layout."""
    contexts: int
    """Contexts of each class of these, a multiple of 10."""
    explainers: int
    """Features that are explained with each layout."""
    explain: int
    """Contexts that explainers are shown."""

    def contexts_of(self, scorer: str) -> int:
        """Contexts per feature of a scorer that reads log-probabilities."""
        return {"surprisal": self.surprisal, "simulation": self.simulation}[scorer]


PARTS = (*SCORERS, "judges", "explainers")
"""What can be measured by itself, each by a run of its own."""

SIZES = {
    "full": Size(
        features=None, surprisal=10, simulation=2, layouts=40, contexts=10, explainers=16, explain=10
    ),
    "quick": Size(features=6, surprisal=2, simulation=2, layouts=2, contexts=10, explainers=4, explain=5),
}
"""By how quick it has to be."""
