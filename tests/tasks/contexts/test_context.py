"""Rows as records, and contexts written by hand."""

from storage.tables import CONTEXTS, SAMPLES
from tasks.contexts.context import Context, context, features
from tests.storage.toys import toy_rows


def test_rows_become_features_with_their_contexts() -> None:
    """One feature per row of samples, contexts in their order, contexts of other features left out."""
    samples = SAMPLES.rows(
        [row | {"feature": n, "max": 2.5} for n, row in enumerate(toy_rows(SAMPLES).to_pylist())]
    )
    rows = [
        row | {"feature": feature, "context": number, "kind": "activating", "decile": 4, "near": near}
        for feature, number, near, row in zip(
            (1, 1, 9), (0, 1, 0), (None, 7, 3), toy_rows(CONTEXTS, 3).to_pylist(), strict=True
        )
    ]
    result = features(CONTEXTS.rows(rows), samples)
    assert [(0, 0), (1, 2)] == [(context.feature, len(context.contexts)) for context in result]
    assert [0, 1] == [context.context for context in result[1].contexts]
    assert 2.5 == result[1].max
    assert (("é\n", "é\n"), (0.5, 0.5)) == (result[1].contexts[0].strings, result[1].contexts[0].activations)
    assert result[1].contexts[0].activating
    assert 0.5 == result[1].contexts[0].peak
    assert [None, 7] == [context.near for context in result[1].contexts]


def test_a_context_can_be_written_by_hand() -> None:
    """Tokens between bars, an activation after the last colon of a token."""
    expected = Context(4, "activating", 0, ("x", " +=", ":", " 1:", "y"), (0.0, 8.0, 0.0, 2.5, 0.0))
    assert expected == context("x| +=:8|:| 1::2.5|y", 4)


def test_a_written_context_without_activations_is_silent() -> None:
    """It is a random one and has no tenth."""
    expected = Context(0, "random", None, ("a", "b"), (0.0, 0.0))
    assert expected == context("a|b")
