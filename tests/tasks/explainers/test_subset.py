"""Which contexts are kept from an explainer."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts.context import Context, Feature
from tasks.explainers.chat import BestOf, ChatExplainer, activating, silent
from tasks.explainers.contrastive import Contrastive
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.subset import hold_out, spread

BEST = {"reader": "r", "temperature": 0.7, "replicates": 2}


def explainer(held_out: int, *, contrastive: bool = False) -> ChatExplainer:
    best = BestOf(held_out=held_out)
    if contrastive:
        return Contrastive(kind="contrastive", best_of=best, **BEST)  # type: ignore[arg-type]
    return Exemplars(kind="exemplars", best_of=best, **BEST)  # type: ignore[arg-type]


def feature(active: int, others: int) -> Feature:
    """Activating contexts of ten deciles, and non-activating ones of two kinds."""
    shown = [Context(i, "activating", i * 10 // active, ("a",), (1.0,)) for i in range(active)]
    kinds = ["random" if i < others // 2 else "similar" for i in range(others)]
    shown += [Context(active + i, kind, None, ("b",), (0.0,)) for i, kind in enumerate(kinds)]
    return Feature(7, 1.0, tuple(shown))


@given(st.lists(st.integers(), max_size=60), st.integers(1, 70))
def test_a_spread_is_in_order_and_as_large_as_it_can_be(items: list[int], n: int) -> None:
    """As many as are wanted or there are, none twice, in their order, with even gaps."""
    places = spread(range(len(items)), n)
    assert min(n, len(items)) == len(places)
    gaps = {after - before for before, after in pairwise(places)}
    assert all(gap > 0 for gap in gaps)
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 30), st.booleans())
def test_what_is_held_out_is_not_shown(active: int, others: int, held_out: int, contrastive: bool) -> None:
    """Every context is on one side; half of the activating ones stay at least, and of a contrastive one's others."""
    whole = feature(active, others)
    parted = hold_out(explainer(held_out, contrastive=contrastive), whole)
    assert {*whole.contexts} == {*parted.shown.contexts} | {*parted.held_out.contexts}
    assert set() == {*parted.shown.contexts} & {*parted.held_out.contexts}
    judged, against = activating(parted.held_out), silent(parted.held_out)
    assert bool(judged) == bool(against)
    assert len(against) <= len(judged) <= min(held_out, active // 2)
    assert len(activating(parted.shown)) * 2 >= active
    assert not contrastive or len(silent(parted.shown)) * 2 >= others


def test_deciles_and_kinds_have_their_share() -> None:
    """One of each decile of forty, and as many of each kind of the others."""
    parted = hold_out(explainer(10), feature(40, 20))
    assert dict.fromkeys(range(10), 1) == Counter(item.decile for item in activating(parted.held_out))
    assert {"random": 5, "similar": 5} == Counter(item.kind for item in silent(parted.held_out))


def test_nothing_is_held_out_unless_it_is_asked_for() -> None:
    """All contexts are shown."""
    whole = feature(40, 20)
    parted = hold_out(Exemplars(kind="exemplars", reader="r"), whole)
    assert whole == parted.shown
    assert () == parted.held_out.contexts
