"""Logits and neighbours agree with the dense product over the whole vocabulary and width."""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tasks.activations.directions import TopRows, feature_directions, logit_lens, nearest_rows, top_products
from tasks.activations.model import LoadedSubject
from tasks.activations.pack import token_texts
from tests.tasks.activations.models import D, coder

FEATURES = [3, 0, 47]
CPU = torch.device("cpu")


class NoDecoder(NamedTuple):
    """A coder whose features write nobody knows where."""

    decoder: None = None
    d_out: None = None


def as_they_are(rows: Tensor) -> Tensor:
    """Rows multiplied as they are."""
    return rows


def brute(mine: Tensor, others: Tensor, k: int, own: Tensor | None = None) -> TopRows:
    """Every product, sorted: the largest first, the lower row first where two are equal."""
    products = (mine @ others.double().T).float()
    if own is not None:
        products[torch.arange(len(mine)), own] = -torch.inf
    order = products.sort(dim=1, descending=True, stable=True)
    k = min(k, len(others) - (own is not None))
    return TopRows(order.values[:, :k], order.indices[:, :k])


@pytest.mark.parametrize("fold_norm", [True, False])
def test_logits_are_the_largest_and_smallest(llama: LoadedSubject, *, fold_norm: bool) -> None:
    """Top and bottom tokens are those of the decoder row times the unembedding, with their text."""
    c = coder()
    assert c.decoder is not None
    gain = llama.final_norm_gain() if fold_norm else None
    rows = c.decoder[FEATURES] if gain is None else c.decoder[FEATURES] * gain
    logits = rows @ llama.unembedding().T
    order = logits.argsort(dim=1, descending=True)

    result = feature_directions(c, FEATURES, logit_lens(llama, fold_norm=fold_norm), logits=5)

    assert FEATURES == [direction.feature for direction in result]
    for row, direction in enumerate(result):
        for ids, have in (
            (order[row, :5], direction.top_logits),
            (order[row].flip(0)[:5], direction.bottom_logits),
        ):
            assert have is not None
            assert token_texts(llama.tokenizer, ids.tolist()) == [item["token"] for item in have]
            torch.testing.assert_close(
                logits[row, ids], torch.tensor([float(item["logit"]) for item in have]), rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("k", [1, 5, 47, 60])
def test_neighbours_are_the_nearest(k: int) -> None:
    """The nearest rows by cosine, the feature itself left out."""
    decoder = coder().decoder
    assert decoder is not None
    cosine = functional.cosine_similarity(decoder[FEATURES, None], decoder[None], dim=2)
    cosine[range(3), FEATURES] = -2

    result = nearest_rows(decoder, torch.tensor(FEATURES), k, CPU)

    for row, near in enumerate(result):
        best = cosine[row].topk(min(k, 47))
        assert best.indices.tolist() == [item["feature"] for item in near]
        torch.testing.assert_close(best.values, torch.tensor([item["cosine"] for item in near]))


@given(
    st.integers(2, 300),
    st.integers(1, 40),
    st.integers(1, 60),
    st.integers(1, 320),
    st.integers(0, 2),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_any_block_finds_what_brute_force_finds(m, d, k, block, ties, alone, draw) -> None:
    """Both ends, in any block, row by row, however many products are equal: rows of few small integers, or copies."""
    make = torch.Generator().manual_seed(draw.randrange(2**30))
    others = [
        torch.randn(m, d, generator=make),
        torch.randint(-1, 2, (m, d), generator=make).float(),
        torch.randn(3, d, generator=make)[torch.randint(0, 3, (m,), generator=make)],
    ][ties]
    own = torch.randint(0, m, (5,), generator=make)
    mine = others[own].double()
    own = None if alone else own

    result = top_products(mine, others, k, as_they_are, ends=(1, -1), own=own, block=block)

    for end, have in zip((1, -1), result, strict=True):
        want = brute(mine * end, others, k, own)
        assert torch.equal(want.product, have.product)
        assert torch.equal(want.row, have.row)


def test_equal_rows_are_in_the_order_of_features() -> None:
    """More copies of a row than candidates are kept: the lowest features are its neighbours, at cosine 1."""
    decoder = torch.randn(500, D, generator=torch.Generator().manual_seed(1))
    decoder[100:400:2] = decoder[100]

    (near,) = nearest_rows(decoder, torch.tensor([200]), 10, CPU)

    assert list(range(100, 120, 2)) == [item["feature"] for item in near]
    assert [1.0] * 10 == [item["cosine"] for item in near]


def test_a_zero_row_has_no_direction(llama: LoadedSubject) -> None:
    """A feature whose decoder row is zero has neither logits nor neighbours; its neighbours in the list keep theirs."""
    c = coder()
    assert c.decoder is not None
    read = logit_lens(llama)
    before = feature_directions(c, [2, 4], read)
    c.decoder[3] = 0

    two, zero, four = feature_directions(c, [2, 3, 4], read)

    assert ([], [], []) == (zero.top_logits, zero.bottom_logits, zero.neighbours)
    assert [item.top_logits for item in before] == [two.top_logits, four.top_logits]


def test_another_width_has_no_logits(llama: LoadedSubject) -> None:
    """A coder that does not write the residual stream's width has neighbours and no logits."""
    (direction,) = feature_directions(coder(d=24), [1], logit_lens(llama), neighbours=4)

    assert (None, None) == (direction.top_logits, direction.bottom_logits)
    assert direction.neighbours is not None
    assert 4 == len(direction.neighbours)


def test_what_is_not_asked_for_is_left_out(llama: LoadedSubject) -> None:
    """Zero logits and zero neighbours cost nothing and leave nulls."""
    assert [(1, None, None, None, None)] == feature_directions(
        coder(), [1], logit_lens(llama), logits=0, neighbours=0
    )


def test_a_coder_without_a_decoder_has_no_direction(llama: LoadedSubject) -> None:
    """Where nobody knows what features write, nothing is said of it."""
    expected = [(feature, None, None, None, None) for feature in FEATURES]
    assert expected == feature_directions(NoDecoder(), FEATURES, logit_lens(llama))  # type: ignore[arg-type]


def test_neighbours_by_encoder_are_asked_for_by_themselves(llama: LoadedSubject) -> None:
    """The nearest rows of the encoder, beside or without those of the decoder; a coder without an encoder has none."""
    c, read = coder(), logit_lens(llama)
    want = nearest_rows(c.encoder, torch.tensor(FEATURES), 4, CPU)

    both, alone = (
        feature_directions(c, FEATURES, read, logits=0, neighbours=near, encoder_neighbours=4)
        for near in (4, 0)
    )
    (none,) = feature_directions(
        replace(c, encoder=torch.empty(0, D)), [1], read, logits=0, neighbours=0, encoder_neighbours=4
    )

    assert want == [item.encoder_neighbours for item in both] == [item.encoder_neighbours for item in alone]
    assert want != [item.neighbours for item in both]
    assert [None] * 3 == [item.neighbours for item in alone]
    assert none.encoder_neighbours is None


def test_features_in_several_turns_are_those_of_one(
    llama: LoadedSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many are multiplied at once changes nothing."""
    c, read = coder(), logit_lens(llama)
    whole = feature_directions(c, range(48), read)
    monkeypatch.setattr("tasks.activations.directions.FEATURES_AT_ONCE", 7)
    monkeypatch.setattr("tasks.activations.directions.BLOCK_BYTES", {"cpu": 500})

    assert whole == feature_directions(c, range(48), read)
