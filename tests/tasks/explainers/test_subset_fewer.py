"""Which contexts are left of a feature when not all of them fit."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts.context import Context, Feature
from tasks.explainers.chat import ChatExplainer, activating, silent
from tasks.explainers.contrastive import Contrastive
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.subset import half_of_contexts

EXEMPLARS = Exemplars(kind="exemplars", reader="r")


def feature(active: int, others: int) -> Feature:
    """Activating contexts of ten deciles, and non-activating ones."""
    shown = [Context(i, "activating", i * 10 // active, ("a",), (1.0,)) for i in range(active)]
    shown += [Context(active + i, "random", None, ("b",), (0.0,)) for i in range(others)]
    return Feature(7, 1.0, tuple(shown))


def steps(explainer: ChatExplainer, whole: Feature) -> list[tuple[Context, ...]]:
    """What is shown before and after each halving."""
    result = [explainer.shown(whole)]
    while (less := half_of_contexts(explainer, whole)) is not None:
        whole = less
        result.append(explainer.shown(whole))
    return result


@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 20))
def test_every_second_context_of_each_class_is_left(active: int, others: int, counterexamples: int) -> None:
    """In their order, of no two neighbours both, until one of each is left; nothing is shown that was not before."""
    contrastive = Contrastive(kind="contrastive", reader="r", counterexamples=counterexamples)
    for explainer in (EXEMPLARS, contrastive):
        result = steps(explainer, feature(active, others))
        for before, after in pairwise(result):
            for own in (activating, silent):
                whole, half = own(Feature(7, 1.0, before)), own(Feature(7, 1.0, after))
                places = [whole.index(item) for item in half]
                assert max(1, len(whole) // 2) == len(half) if whole else not half
                assert all(2 <= right - left <= 3 for left, right in pairwise(places))
        assert (1 if explainer is EXEMPLARS else 2) == len(result[-1])


def test_deciles_keep_their_shares() -> None:
    """Two of each decile of forty, then one."""
    result = steps(EXEMPLARS, feature(40, 0))
    assert [40, 20, 10, 5, 2, 1] == [len(shown) for shown in result]
    assert [*range(10)] == [item.decile for item in result[1][::2]] == [item.decile for item in result[2]]
    assert [item.decile for item in result[1][::2]] == [item.decile for item in result[1][1::2]]
    assert [item.context for item in result[0]][1::2] == [item.context for item in result[1]]
