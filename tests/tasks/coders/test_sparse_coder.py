"""The sparse coder agrees with dense arithmetic written out, whatever the block."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.coders import sparse_coder
from tasks.coders.activation_functions import (
    AbsTopK,
    ActivationFunction,
    Firings,
    Gated,
    GroupMax,
    JumpRelu,
    TopK,
)
from tasks.coders.sparse_coder import SparseCoder

D_IN, WIDTH, D_OUT = 6, 20, 9

RULES: list[ActivationFunction] = [
    TopK(4),
    AbsTopK(4),
    GroupMax(4),
    JumpRelu(torch.tensor(2.0)),
    Gated(torch.ones(WIDTH), torch.arange(WIDTH) - 9.0),
]


def coder(activation: ActivationFunction, *, seed: int = 0, whole: bool = False) -> SparseCoder:
    """A random coder; a `whole` one has small whole numbers as weights, so that sums are exact."""
    make = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        if whole:
            return torch.randint(-3, 4, shape, generator=make).float()
        return torch.randn(*shape, generator=make)

    weights = random(WIDTH, D_IN), random(WIDTH), random(D_IN), random(WIDTH, D_OUT), random(D_OUT)
    return SparseCoder(*weights, activation)


def vectors(seed: int, tokens: int) -> Tensor:
    """Small whole numbers: [tokens, d_in]."""
    return torch.randint(-4, 5, (tokens, D_IN), generator=torch.Generator().manual_seed(seed)).float()


def normal(tokens: int) -> Tensor:
    """Normal numbers, the same in every run: [tokens, d_in]."""
    return torch.randn(tokens, D_IN, generator=torch.Generator().manual_seed(1))


def dense(firings: Firings, tokens: int) -> Tensor:
    """The firings as a matrix [tokens, width]."""
    out = torch.zeros(tokens, WIDTH)
    out[firings.token, firings.feature] = firings.activation
    return out


def pre(c: SparseCoder, x: Tensor) -> Tensor:
    """Pre-activations, term by term."""
    return torch.einsum("td,wd->tw", x - c.centre, c.encoder) + c.encoder_bias


def decoded(c: SparseCoder, firings: Firings, tokens: int) -> Tensor:
    """Activations times decoder plus bias, densely."""
    assert c.decoder is not None
    assert c.decoder_bias is not None
    return dense(firings, tokens) @ c.decoder + c.decoder_bias


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(1, 50), st.sampled_from(RULES))
def test_blocks_do_not_change_firings(seed: int, tokens: int, block: int, rule: ActivationFunction) -> None:
    """Any block size gives the same firings in the same order."""
    c, x = coder(rule, seed=seed, whole=True), vectors(seed, tokens)

    whole, split = c.encode(x), c.encode(x, block)

    assert all(torch.equal(a, b) for a, b in zip(whole, split, strict=True))


def test_a_block_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody says how many tokens are encoded at once, memory does, and then the bound on tokens."""
    seen: list[int] = []

    class Watched(TopK):
        """Notes how many tokens it is given."""

        def fire(self, pre: Tensor) -> Firings:
            seen.append(len(pre))
            return super().fire(pre)

    monkeypatch.setitem(sparse_coder.BLOCK_TOKENS, "cpu", 8)
    for pre_activations in (1000, 5, 1):
        monkeypatch.setitem(sparse_coder.BLOCK_BYTES, "cpu", 4 * WIDTH * pre_activations)
        coder(Watched(3)).encode(normal(10))

    assert [8, 2, 5, 5, *[1] * 10] == seen


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.sampled_from(RULES))
def test_encodes_by_its_rule(seed: int, rule: ActivationFunction) -> None:
    """Pre-activations are of the centred vector, and the rule decides which fire."""
    c, x = coder(rule, seed=seed, whole=True), vectors(seed, 11)

    assert torch.equal(dense(rule.fire(pre(c, x)), 11), dense(c.encode(x), 11))


def test_a_pre_activation_of_zero_does_not_fire() -> None:
    """Zeros are dropped, even among the k largest."""
    eye = torch.eye(3)
    c = SparseCoder(eye, torch.zeros(3), torch.zeros(3), eye, torch.zeros(3), TopK(3))

    firings = c.encode(torch.tensor([[1.0, 0.0, -1.0]]))

    assert [[0], [0], [1.0]] == [column.tolist() for column in firings]


def test_a_transposed_encoder_encodes_the_same() -> None:
    """An encoder that is stored the other way round is not copied, and gives the same."""
    c, x = coder(TopK(4), whole=True), vectors(0, 11)
    turned = replace(c, encoder=c.encoder.T.contiguous().T)

    assert not turned.encoder.is_contiguous()
    assert torch.equal(dense(c.encode(x), 11), dense(turned.encode(x), 11))


@pytest.mark.parametrize("rule", RULES)
def test_decode_is_the_dense_product(rule: ActivationFunction) -> None:
    """Decoding is activations times decoder plus bias, also of activations below zero."""
    c = coder(rule)
    x = normal(30)
    firings = c.encode(x)

    torch.testing.assert_close(c.decode(firings, 30), decoded(c, firings, 30), rtol=1e-5, atol=1e-5)


def test_tokens_on_which_nothing_fires_are_the_bias() -> None:
    """Tokens without firings, between others or at an end, decode to the decoder's bias."""
    c = coder(JumpRelu(torch.tensor(4.0)))
    firings = c.encode(normal(30))

    assert len(firings.token.unique()) < 30
    torch.testing.assert_close(c.decode(firings, 30), decoded(c, firings, 30), rtol=1e-5, atol=1e-5)


def test_without_a_decoder_nothing_is_decoded() -> None:
    """Features that nobody knows the writing of fire all the same, and reconstruct nothing."""
    c = replace(coder(TopK(4)), decoder=None, decoder_bias=None)
    firings = c.encode(normal(3))

    assert c.d_out is None
    assert len(firings.token) > 0
    with pytest.raises(ValueError, match="reconstructs nothing"):
        c.decode(firings, 3)


@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_a_skip_adds_a_map_of_the_raw_input(normalisation: sparse_coder.Normalisation) -> None:
    """A skip reads the input before it is normalised, and is added after the rest is taken back."""
    c = replace(coder(TopK(4)), normalisation=normalisation)
    skipping = replace(c, skip=normal(D_OUT))
    x = 3 + normal(11)
    assert skipping.skip is not None

    expected = c.reconstruct(x, c.encode(x)) + x @ skipping.skip.T

    torch.testing.assert_close(skipping.reconstruct(x, skipping.encode(x)), expected, rtol=1e-5, atol=1e-5)


def test_layer_norm_takes_back_what_it_took() -> None:
    """Reconstructions have the mean and the deviation of the vectors that they stand for."""
    c = replace(coder(TopK(4)), normalisation="layer_norm")
    x = 3 + normal(11)
    mean, scale = x.mean(1, keepdim=True), x.std(1, keepdim=True) + 1e-5

    firings = replace(c, normalisation="none").encode((x - mean) / scale)

    torch.testing.assert_close(dense(c.encode(x), 11), dense(firings, 11), rtol=1e-4, atol=1e-4)
    expected = decoded(c, firings, 11) * scale + mean
    torch.testing.assert_close(c.reconstruct(x, c.encode(x)), expected, rtol=1e-4, atol=1e-4)


def test_a_zero_vector_rescales_to_zero() -> None:
    """Rescaling to constant norm leaves a zero vector zero instead of dividing by its norm."""
    eye = torch.eye(3)
    zero = torch.zeros(3)
    c = SparseCoder(eye, zero, zero, eye, zero, TopK(3), "constant_norm_rescale")

    assert 0 == len(c.encode(torch.zeros(2, 3)).token)


def test_no_tokens_no_firings() -> None:
    """An empty input encodes to no firings and decodes to no vectors."""
    c = coder(TopK(3))
    firings = c.encode(torch.empty(0, D_IN))

    assert [0, 0, 0] == [len(column) for column in firings]
    assert (0, D_OUT) == c.decode(firings, 0).shape


def test_heads_are_flattened() -> None:
    """Vectors kept by head are read, and reconstructed, as one vector."""
    c = coder(TopK(3))
    x = normal(5)

    flat, by_head = c.encode(x), c.encode(x.reshape(5, 2, 3))

    assert all(torch.equal(a, b) for a, b in zip(flat, by_head, strict=True))
    assert torch.equal(c.reconstruct(x, flat), c.reconstruct(x.reshape(5, 2, 3), flat))


def test_half_precision_input_is_encoded_in_float32() -> None:
    """A half-precision vector gives what the same numbers in float32 give."""
    c = coder(TopK(3))
    x = normal(5).bfloat16()

    half, full = c.encode(x), c.encode(x.float())

    assert torch.float32 == half.activation.dtype
    assert torch.equal(full.activation, half.activation)


def test_a_half_precision_encoder_multiplies_in_half_precision_only() -> None:
    """Its products are of rounded numbers, its biases and activations are not rounded."""
    c = coder(JumpRelu(torch.tensor(0.0)))
    x = normal(50)

    half = c.to(torch.device("cpu"), torch.bfloat16)
    rounded = ((x - c.centre).bfloat16() @ c.encoder.bfloat16().T).float() + c.encoder_bias

    assert torch.bfloat16 == half.encoder.dtype
    assert torch.float32 == half.encode(x).activation.dtype
    torch.testing.assert_close(dense(half.encode(x), 50), rounded.relu(), rtol=0.02, atol=0.02)


def test_the_decoder_stays_where_it_is() -> None:
    """What encodes moves to a device; the decoder, of which little is wanted at a time, does not."""
    c = replace(coder(JumpRelu(torch.zeros(WIDTH))), skip=torch.zeros(D_OUT, D_IN))
    moved = c.to(torch.device("meta"))

    tensors = {name: value for name, value in vars(moved).items() if isinstance(value, Tensor)}
    assert isinstance(moved.activation, JumpRelu)

    assert {"encoder", "encoder_bias", "centre"} == {name for name, t in tensors.items() if t.is_meta}
    assert moved.activation.threshold.is_meta
    assert c.decoder is moved.decoder


def test_sizes_and_declared_l0() -> None:
    """A coder knows its widths, and how many features it promises where it or its rule promises."""
    assert (D_IN, D_OUT, WIDTH, 4) == (
        (c := coder(TopK(4))).d_in, c.d_out, c.width, c.declared_l0,
    )  # fmt: skip
    assert coder(JumpRelu(torch.tensor(0.0))).declared_l0 is None
    assert 3.5 == replace(c, l0=3.5).declared_l0
