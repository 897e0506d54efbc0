"""What a client finds out about a reader's servers while it asks them, for whoever reports and remembers it."""

from collections.abc import Callable
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One thing about the servers of a reader."""

    about: Literal["form", "logprobs", "parameters", "refused_form", "ignored_form"]
    """`form`: how they hold replies to one. `logprobs`: whether they give log-probabilities with it. `parameters`: the
    settings that they take. `refused_form`, `ignored_form`: a question whose form they refused, or did not hold to."""
    value: str
    """What was found, in a word that can be compared with what was found before."""
    line: str
    """The same in words, as what the reader does: `holds replies to a form by structured_outputs`."""


Note = Callable[[Finding], None]
"""Hears of a finding, once for each client."""


def unheard(_finding: Finding) -> None:
    """Nobody listens."""
