"""Logits and neighbours agree with the dense product over the whole vocabulary and width."""

import pytest
import torch
from torch.nn import functional

from tasks.activations.directions import directions, neighbours, reading
from tasks.activations.model import LoadedSubject
from tasks.activations.pack import texts
from tests.tasks.activations.models import coder

FEATURES = [3, 0, 47]


@pytest.mark.parametrize("fold_norm", [True, False])
def test_logits_are_the_largest_and_smallest(llama: LoadedSubject, *, fold_norm: bool) -> None:
    """Top and bottom tokens are those of the decoder row times the unembedding, with their text."""
    c = coder()
    gain = llama.final_norm_gain() if fold_norm else None
    rows = c.decoder[FEATURES] if gain is None else c.decoder[FEATURES] * gain
    logits = rows @ llama.unembedding().T
    order = logits.argsort(dim=1, descending=True)

    found = directions(c, FEATURES, reading(llama, fold_norm=fold_norm), 5)

    assert FEATURES == [direction.feature for direction in found]
    for row, direction in enumerate(found):
        for ids, have in (
            (order[row, :5], direction.top_logits),
            (order[row].flip(0)[:5], direction.bottom_logits),
        ):
            assert have is not None
            assert texts(llama.tokenizer, ids.tolist()) == [item["token"] for item in have]
            torch.testing.assert_close(
                logits[row, ids], torch.tensor([float(item["logit"]) for item in have]), rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("block", [1, 7, 48, 1000])
@pytest.mark.parametrize("k", [1, 5, 47, 60])
def test_neighbours_are_the_nearest(block: int, k: int) -> None:
    """The nearest rows by cosine, the feature itself left out, whatever the block."""
    c = coder()
    cosine = functional.cosine_similarity(c.decoder[FEATURES, None], c.decoder[None], dim=2)
    cosine[range(3), FEATURES] = -2

    found = neighbours(c.decoder, torch.tensor(FEATURES), k, block)

    for row, near in enumerate(found):
        best = cosine[row].topk(min(k, 47))
        assert best.indices.tolist() == [item["feature"] for item in near]
        torch.testing.assert_close(best.values, torch.tensor([item["cosine"] for item in near]))


def test_a_zero_row_is_near_to_nothing() -> None:
    """A feature whose decoder row is zero has the cosine 0 with all others."""
    decoder = coder().decoder.clone()
    decoder[3] = 0

    (near,) = neighbours(decoder, torch.tensor([3]), 4)

    assert [0.0] * 4 == [item["cosine"] for item in near]


def test_another_width_has_no_logits(llama: LoadedSubject) -> None:
    """A coder that does not write the residual stream's width has neighbours and no logits."""
    (direction,) = directions(coder(d=24), [1], reading(llama), 4)

    assert (None, None) == (direction.top_logits, direction.bottom_logits)
    assert 4 == len(direction.neighbours)
