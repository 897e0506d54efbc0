"""Which tensors a checkpoint's file may hold. Knows names and shapes, nothing of formats; loads no torch.

A tensor that nobody reads may be half of what a coder is: a threshold, a skip connection, a normalisation. So each
format says which tensors its coder is made of and which others are known to change nothing, and a file with any other
is refused by that tensor's name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from storage.errors import WrongRequest

Shapes = Mapping[str, tuple[int, ...]]

STATISTICS: Mapping[str, str] = {
    "act_freq_scores": "how often each feature fired lately in training",
    "n_forward_passes_since_fired": "how long each feature was silent in training",
    "num_batches_not_active": "how long each feature was silent in training",
    "num_tokens_since_fired": "how long each feature was silent in training",
    "stats_last_nonzero": "how long each feature was silent in training",
    "step": "how long the training took",
}
"""Bookkeeping of trainings, and what it is: no coder encodes or decodes with it."""

MOST_NAMED = 4
"""Tensors that a message names."""


@dataclass(frozen=True)
class Expected:
    """The tensors of one coder in one file, and what to say of any other."""

    shapes: Shapes
    """Those that the coder is made of: each must be there, in this shape."""
    says: str
    """What speaks against any other tensor, as a clause: `cfg.json says architecture standard`."""
    harmless: Mapping[str, str] = field(default_factory=dict)
    """Tensors that may be there and are not read, each with the reason why that changes nothing."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """What to do about a tensor, where more can be said than that it should not be there."""

    def refuse_others(self, shown: str, stored: Iterable[str]) -> None:
        """Raise `WrongRequest` if there is any other tensor; `shown` is the file as the user knows it."""
        others = sorted(set(stored) - self.shapes.keys() - self.harmless.keys() - STATISTICS.keys())
        if not others:
            return
        named = ", ".join(others[:MOST_NAMED])
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        them = "it" if len(others) == 1 else "them"
        otherwise = f"correct the coder's source or its config, or save the file without {them} if the coder needs none"
        remedy = next((self.remedies[name] for name in others if name in self.remedies), otherwise)
        msg = f"{shown} has {'a tensor' if len(others) == 1 else 'tensors'} {named}{more}, and {self.says}: {remedy}"
        raise WrongRequest(msg)
