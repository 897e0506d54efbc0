"""What scorers have in common that answer with numbers."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import WrongRequest
from tasks.contexts.context import Context, context
from tasks.llm.request import Reply, Request, RequestKey, Unreadable
from tasks.scorers.embedding import Embedding
from tasks.scorers.numeric import answers
from tests.tasks.toys import LIGHTHOUSE

CONTEXTS = [
    *(replace(context("a:1", number), decile=number // 10) for number in range(100)),
    *(context("b", number) for number in range(100, 160)),
    *(replace(context("b", number), kind="similar") for number in range(160, 180)),
]


def scorer_of(**options: Any) -> Embedding:
    """A scorer that answers with numbers."""
    return Embedding(kind="embedding", reader="r", **options)


def layer(shown: Context) -> tuple[str, int | None]:
    return shown.kind, shown.decile


@given(wanted=st.integers(2, 200), seed=st.integers(0, 99))
def test_a_bounded_number_of_contexts_is_judged_of_each_kind_and_decile_in_proportion(
    wanted: int, seed: int
) -> None:
    """To within one of its share; in their order, each once, the same for the same seed."""
    scorer = scorer_of(contexts=wanted, seed=seed)
    judged = scorer.judged(CONTEXTS, 7)
    numbers = [item.context for item in judged]
    assert min(wanted, 180) == len(numbers) == len(set(numbers))
    assert sorted(numbers) == numbers
    of, result = Counter(map(layer, CONTEXTS)), Counter(map(layer, judged))
    assert all(abs(result[item] - len(numbers) * count / 180) < 1 for item, count in of.items())
    assert judged == scorer.judged(CONTEXTS[::-1], 7)


def test_another_seed_or_feature_draws_other_contexts() -> None:
    """And no bound judges all."""
    draws = [
        tuple(scorer_of(contexts=20, seed=seed).judged(CONTEXTS, feature))
        for seed, feature in [(1, 1), (1, 2), (2, 1)]
    ]
    assert 3 == len(set(draws))
    assert CONTEXTS == scorer_of().judged(CONTEXTS, 7)


def test_kinds_that_are_not_named_are_not_judged() -> None:
    """A number about random contexts is not mixed with one about neighbours'; activating ones are always there."""
    judged = scorer_of(kinds=("similar",)).judged(CONTEXTS, 7)
    assert [*CONTEXTS[:100], *CONTEXTS[160:]] == judged
    bounded = scorer_of(kinds=("similar",), contexts=12).judged(CONTEXTS, 7)
    assert {"activating": 10, "similar": 2} == Counter(item.kind for item in bounded)


def test_parts_without_as_many_answers_are_refused() -> None:
    """Nothing is matched by guess."""
    request = Request("a", parts=(Request("a/0", prompt="x"), Request("a/1", prompt="y")))
    with pytest.raises(Unreadable, match="1 answers to the 2 parts of a"):
        answers(request, Reply("", parts=(Reply("z"),)))


def test_a_prompt_of_ones_own_needs_its_slot(tmp_path: Path) -> None:
    """Without it the explanation would never be asked about."""
    file = tmp_path / "query.txt"
    file.write_text("Find this:")
    scorer = Embedding(kind="embedding", reader="r", prompt=str(file))
    with pytest.raises(WrongRequest, match=r"query.txt has no \{explanation\} in it"):
        scorer.requests(RequestKey(7), "Lighthouses.", LIGHTHOUSE)
    other = tmp_path / "other.txt"
    other.write_text("Find this: {explanation}")
    (request,) = scorer.model_copy(update={"prompt": str(other)}).requests(
        RequestKey(7), "A {b}.", LIGHTHOUSE
    )
    assert ("Find this: A {b}.",) == request.parts[0].texts
