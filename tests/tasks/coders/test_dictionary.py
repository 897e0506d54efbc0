"""The sparse coder agrees with dense arithmetic written out, whatever the block."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.coders.dictionary import Firings, JumpRelu, SparseCoder, TopK

D_IN, WIDTH = 6, 20


def coder(activation: TopK | JumpRelu, *, seed: int = 0, whole: bool = False) -> SparseCoder:
    """A random coder; a `whole` one has small whole numbers as weights, so that sums are exact."""
    make = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        if whole:
            return torch.randint(-3, 4, shape, generator=make).float()
        return torch.randn(*shape, generator=make)

    weights = random(WIDTH, D_IN), random(WIDTH), random(D_IN), random(WIDTH, 9), random(9)
    return SparseCoder(*weights, activation)


def dense(firings: Firings, tokens: int) -> Tensor:
    """The firings as a matrix [tokens, width]."""
    out = torch.zeros(tokens, WIDTH)
    out[firings.token, firings.feature] = firings.activation
    return out


def pre(c: SparseCoder, x: Tensor) -> Tensor:
    """Pre-activations, term by term."""
    return torch.einsum("td,wd->tw", x - c.centre, c.encoder) + c.encoder_bias


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(1, 50), st.sampled_from(["topk", "jump"]))
def test_blocks_do_not_change_firings(seed: int, tokens: int, block: int, kind: str) -> None:
    """Any block size gives the same firings in the same order."""
    c = coder(TopK(4) if kind == "topk" else JumpRelu(torch.tensor(2.0)), seed=seed, whole=True)
    x = torch.randint(-4, 5, (tokens, D_IN), generator=torch.Generator().manual_seed(seed)).float()

    whole, split = c.encode(x), c.encode(x, block)

    assert all(torch.equal(a, b) for a, b in zip(whole, split, strict=True))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, WIDTH))
def test_topk_is_the_dense_topk(seed: int, k: int) -> None:
    """The k largest pre-activations of each token fire if they are above zero, and nothing else."""
    c = coder(TopK(k), seed=seed)
    x = torch.randn(11, D_IN, generator=torch.Generator().manual_seed(seed))

    p = pre(c, x)
    largest = p >= p.sort(dim=1, descending=True).values[:, k - 1 : k]
    expected = torch.where(largest & (p > 0), p, 0)

    torch.testing.assert_close(dense(c.encode(x), 11), expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.floats(-2, 3))
def test_jumprelu_fires_above_threshold_and_zero(seed: int, threshold: float) -> None:
    """A pre-activation fires when it is above its threshold and above zero, both strictly."""
    thresholds = torch.linspace(threshold - 1, threshold + 1, WIDTH)
    c = coder(JumpRelu(thresholds), seed=seed, whole=True)
    x = torch.randint(-4, 5, (11, D_IN), generator=torch.Generator().manual_seed(seed)).float()

    p = pre(c, x)

    assert torch.equal(torch.relu(p) * (p > thresholds), dense(c.encode(x), 11))


@pytest.mark.parametrize("activation", [TopK(4), JumpRelu(torch.tensor(0.0))])
def test_firings_are_ordered_and_positive(activation: TopK | JumpRelu) -> None:
    """Firings come by token, each above zero, each feature at most once per token."""
    firings = coder(activation).encode(torch.randn(30, D_IN))

    assert (firings.token.diff() >= 0).all()
    assert (firings.activation > 0).all()
    assert len(torch.stack([firings.token, firings.feature]).unique(dim=1)[0]) == len(firings.token)


def test_a_pre_activation_of_zero_does_not_fire() -> None:
    """Zeros are dropped, even among the k largest."""
    eye = torch.eye(3)
    c = SparseCoder(eye, torch.zeros(3), torch.zeros(3), eye, torch.zeros(3), TopK(3))

    firings = c.encode(torch.tensor([[1.0, 0.0, -1.0]]))

    assert [[0], [0], [1.0]] == [column.tolist() for column in firings]


def test_decode_is_the_dense_product() -> None:
    """Decoding is activations times decoder plus bias, also for tokens on which nothing fires."""
    c = coder(JumpRelu(torch.tensor(4.0)))
    x = torch.randn(30, D_IN)
    firings = c.encode(x)

    expected = dense(firings, 30) @ c.decoder + c.decoder_bias

    assert len(firings.token.unique()) < 30
    torch.testing.assert_close(c.decode(firings, 30), expected, rtol=1e-5, atol=1e-5)


def test_no_tokens_no_firings() -> None:
    """An empty input encodes to no firings and decodes to no vectors."""
    c = coder(TopK(3))
    firings = c.encode(torch.empty(0, D_IN))

    assert [0, 0, 0] == [len(column) for column in firings]
    assert (0, 9) == c.decode(firings, 0).shape


def test_heads_are_flattened() -> None:
    """Vectors kept by head are read as one vector."""
    c = coder(TopK(3))
    x = torch.randn(5, D_IN)

    flat, by_head = c.encode(x), c.encode(x.reshape(5, 2, 3))

    assert all(torch.equal(a, b) for a, b in zip(flat, by_head, strict=True))


def test_half_precision_input_is_encoded_in_float32() -> None:
    """A half-precision vector gives what the same numbers in float32 give."""
    c = coder(TopK(3))
    x = torch.randn(5, D_IN).bfloat16()

    half, full = c.encode(x), c.encode(x.float())

    assert torch.float32 == half.activation.dtype
    assert torch.equal(full.activation, half.activation)


def test_sizes_and_declared_l0() -> None:
    """A coder knows its widths, and how many features it promises where it promises."""
    assert (D_IN, 9, WIDTH, 4) == (
        (c := coder(TopK(4))).d_in, c.d_out, c.width, c.declared_l0,
    )  # fmt: skip
    assert coder(JumpRelu(torch.tensor(0.0))).declared_l0 is None


def test_a_zero_vector_rescales_to_zero() -> None:
    """Rescaling to constant norm leaves a zero vector zero instead of dividing by its norm."""
    eye = torch.eye(3)
    zero = torch.zeros(3)
    c = SparseCoder(eye, zero, zero, eye, zero, TopK(3), "constant_norm_rescale")

    assert 0 == len(c.encode(torch.zeros(2, 3)).token)
