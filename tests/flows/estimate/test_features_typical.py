"""Features made of any text, whose prompts are as long as real ones."""

from flows.estimate.features import synthetic_feature
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import OtherFeature, Random, Similar

WINDOWS = [tuple(f" w{window}.{place}" for place in range(8)) for window in range(20)]
SAMPLING = Sampling(
    window=8,
    explain=20,
    per_decile=3,
    negatives=(Random(n=7), Similar(n=4, neighbours=2), OtherFeature(n=5, features=3)),
    min_firings=1,
)


def test_a_typical_feature_has_the_contexts_that_would_be_drawn() -> None:
    """As many of each kind and decile as the sampling asks for, from the given windows."""
    explain, score = synthetic_feature(WINDOWS, SAMPLING, 3, 22)

    assert set(range(10)) == {context.decile for context in explain.contexts if context.activating}
    assert 20 == sum(context.activating for context in explain.contexts)
    assert [3] * 10 == [sum(item.decile == decile for item in score.contexts) for decile in range(10)]
    kinds = [context.kind for context in score.contexts]
    assert [30, 7, 4, 5] == [
        kinds.count(kind) for kind in ("activating", "random", "similar", "other_feature")
    ]
    assert {context.strings for context in score.contexts} <= set(WINDOWS)
    assert len(score.contexts) == len({context.context for context in score.contexts})


def test_it_fires_where_it_should() -> None:
    """In every activating context, in no other, and stronger in the stronger deciles."""
    _, score = synthetic_feature(WINDOWS, SAMPLING, 3, 22)

    assert all((context.peak > 0) == context.activating for context in score.contexts)
    peaks = [context.peak for context in score.contexts if context.activating]
    assert sorted(peaks, reverse=True) == peaks


def test_another_feature_fires_where_the_kind_names_one() -> None:
    """In contexts of neighbours and of other features, as many of them as each kind asks for."""
    _, score = synthetic_feature(WINDOWS, SAMPLING, 3, 22)

    others = {
        kind: {item.other for item in score.contexts if item.kind == kind} for kind in ("random", "similar")
    }
    assert {"random": {None}, "similar": {0, 1}} == others
    assert 3 == len({item.other for item in score.contexts if item.kind == "other_feature"})
    for item in score.contexts:
        assert (item.other is not None) == (item.kind in {"similar", "other_feature"})
        assert item.near == (item.other if item.kind == "similar" else None)
        assert any(item.other_activations or ()) == (item.other is not None)


def test_the_same_seed_gives_the_same_feature() -> None:
    """And another feature is another one."""
    assert synthetic_feature(WINDOWS, SAMPLING, 3, 22) == synthetic_feature(WINDOWS, SAMPLING, 3, 22)
    assert (
        synthetic_feature(WINDOWS, SAMPLING, 3, 22)[1].contexts
        != synthetic_feature(WINDOWS, SAMPLING, 4, 22)[1].contexts
    )
