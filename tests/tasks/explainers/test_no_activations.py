"""The explainer that doesn't say how strongly tokens fire."""

import re

from tasks.explainers.exemplars import Exemplars
from tasks.explainers.no_activations import NoActivations
from tasks.llm.request import RequestKey
from tests.tasks.explainers.every import WHOLE


def test_only_the_activations_are_missing() -> None:
    """Turn by turn it is what exemplars shows, without its lines of activations."""
    (bare,) = NoActivations(kind="no_activations", reader="r").requests(RequestKey(7, 0), WHOLE)
    (full,) = Exemplars(kind="exemplars", reader="r").requests(RequestKey(7, 0), WHOLE)
    assert [re.sub(r"\nActivations: .*\n?", "", turn.text) for turn in full.messages[1:]] == [
        turn.text for turn in bare.messages[1:]
    ]
    assert "Activations" not in bare.messages[0].text
