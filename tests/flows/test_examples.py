"""What is tried out before a run is what its scorers will ask for."""

from typing import get_args

import pytest
from pydantic import TypeAdapter

from flows.examples import examples
from tasks.scorers import Scorer

KINDS = [kind.model_fields["kind"].annotation.__args__[0] for kind in get_args(get_args(Scorer)[0])]


def relied(**scorer: object) -> list[tuple[int | None, int | None, bool]]:
    made = TypeAdapter(Scorer).validate_python({"reader": "judge", **scorer})
    return [(one.top_logprobs, one.prompt_logprobs, bool(one.texts)) for one in examples(made)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_scorer_can_be_tried_out(kind: str) -> None:
    """With few tokens, and without any where it reads nothing but text."""
    made = TypeAdapter(Scorer).validate_python({"reader": "judge", "kind": kind})
    assert all(one.max_tokens == 1 and not one.parts for one in examples(made))


def test_what_scorers_rely_on_beside_text() -> None:
    """Each once."""
    assert relied(kind="detection") == []
    assert relied(kind="detection", shown=1, logprobs=True) == [(5, None, False)]
    assert relied(kind="surprisal") == [(None, 0, False)]
    assert relied(kind="embedding") == [(None, None, True)]
