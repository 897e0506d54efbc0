"""Each rule of firing agrees with its definition on a dense matrix, for all inputs."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.coders.activation_functions import (
    GROUP,
    AbsTopK,
    ActivationFunction,
    Firings,
    Gated,
    GroupMax,
    JumpRelu,
    TopK,
    largest_values,
)

WIDTH = 24


def numbers(seed: int, *shape: int, levels: int | None = None) -> Tensor:
    """Normal numbers; where `levels` are given, whole ones of few levels, so that many are the same."""
    make = torch.Generator().manual_seed(seed)
    if levels is None:
        return torch.randn(*shape, generator=make)
    return torch.randint(-levels, levels + 1, shape, generator=make).float()


def dense(firings: Firings, pre: Tensor) -> Tensor:
    """The firings as a matrix like the pre-activations."""
    out = torch.zeros_like(pre)
    out[firings.token, firings.feature] = firings.activation
    return out


SEEDS = st.integers(0, 2**31)
LEVELS = st.sampled_from([None, 0, 1, 5])


@settings(deadline=None, max_examples=200)
@given(SEEDS, st.integers(0, 5), st.integers(1, 80), st.integers(1, 50), LEVELS, st.booleans())
@example(seed=0, tokens=3, groups=2, k=1, levels=None, whole=True)  # as narrow as two steps go
@example(seed=0, tokens=3, groups=80, k=40, levels=0, whole=True)  # all the same
def test_the_largest_are_those_of_topk(
    seed: int, tokens: int, groups: int, k: int, levels: int | None, whole: bool
) -> None:
    """In one step or two, the values are torch's, the columns hold them, and no column comes twice."""
    width = groups * GROUP - (0 if whole else 3)
    pre = numbers(seed, tokens, width, levels=levels)
    expected = pre.topk(min(k, width), dim=1)

    values, columns = largest_values(pre, k)

    assert torch.equal(expected.values, values.sort(dim=1, descending=True).values)
    assert torch.equal(values, pre.gather(1, columns))
    assert all(len(row) == len(set(row)) for row in columns.tolist())
    if levels is None:
        assert torch.equal(expected.indices.sort(dim=1).values, columns.sort(dim=1).values)


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(1, WIDTH), LEVELS)
def test_topk_fires_the_largest_above_zero(seed: int, k: int, levels: int | None) -> None:
    """The k largest pre-activations of a token fire if they are above zero, and nothing else."""
    pre = numbers(seed, 11, WIDTH, levels=levels)

    result = dense(TopK(k).fire(pre), pre)

    assert torch.equal(pre.topk(k).values.relu(), result.topk(k).values)
    assert torch.equal(pre[result != 0], result[result != 0])


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(1, WIDTH), LEVELS)
def test_abs_topk_fires_the_farthest_from_zero(seed: int, k: int, levels: int | None) -> None:
    """The k pre-activations with the largest size fire as they are, also below zero."""
    pre = numbers(seed, 11, WIDTH, levels=levels)

    result = dense(AbsTopK(k).fire(pre), pre)

    assert torch.equal(pre.abs().topk(k).values, result.abs().topk(k).values)
    assert torch.equal(pre[result != 0], result[result != 0])


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.sampled_from([1, 2, 3, 8, 24]), LEVELS)
def test_groupmax_fires_one_of_each_group(seed: int, k: int, levels: int | None) -> None:
    """Of each group of neighbours the largest fires if it is above zero, and one of it only."""
    pre = numbers(seed, 11, WIDTH, levels=levels)

    result = dense(GroupMax(k).fire(pre), pre).view(11, k, -1)

    assert torch.equal(pre.view(11, k, -1).amax(2).relu(), result.amax(2))
    assert ((result != 0).sum(2) <= 1).all()
    assert torch.equal(pre.view(11, k, -1)[result != 0], result[result != 0])


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.floats(-2, 3), LEVELS)
def test_jumprelu_fires_above_threshold_and_zero(seed: int, threshold: float, levels: int | None) -> None:
    """A pre-activation fires when it is above its threshold and above zero, both strictly."""
    thresholds = torch.linspace(round(threshold) - 1, round(threshold) + 1, WIDTH)
    pre = numbers(seed, 11, WIDTH, levels=levels)

    assert torch.equal(torch.relu(pre) * (pre > thresholds), dense(JumpRelu(thresholds).fire(pre), pre))


def test_a_threshold_may_be_shared() -> None:
    """One number serves all features; zero is the ReLU."""
    pre = numbers(0, 11, WIDTH)

    assert torch.equal(pre.relu(), dense(JumpRelu(torch.tensor(0.0)).fire(pre), pre))


@settings(deadline=None, max_examples=50)
@given(SEEDS, LEVELS)
def test_gated_fires_where_gate_and_magnitude_are_above_zero(seed: int, levels: int | None) -> None:
    """The gate is the pre-activation's sign, the magnitude its affine image; both have to be above zero."""
    pre = numbers(seed, 11, WIDTH, levels=levels)
    scale, shift = numbers(seed + 1, WIDTH).exp(), numbers(seed + 2, WIDTH, levels=levels)

    expected = torch.relu(scale * pre + shift) * (pre > 0)

    torch.testing.assert_close(dense(Gated(scale, shift).fire(pre), pre), expected)


RULES: list[ActivationFunction] = [
    TopK(4),
    AbsTopK(4),
    GroupMax(4),
    JumpRelu(torch.linspace(-1, 1, WIDTH)),
    Gated(torch.ones(WIDTH), torch.linspace(-1, 1, WIDTH)),
]
NAMES = [type(rule).__name__ for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_firings_are_ordered_and_none_is_zero(rule: ActivationFunction) -> None:
    """Firings come by token, none of them zero, each feature at most once per token."""
    firings = rule.fire(numbers(3, 30, WIDTH, levels=2))

    assert (firings.token.diff() >= 0).all()
    assert (firings.activation != 0).all()
    assert len(torch.stack([firings.token, firings.feature]).unique(dim=1)[0]) == len(firings.token) > 0


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_no_tokens_fire_nothing(rule: ActivationFunction) -> None:
    """No pre-activations give no firings, of the same types as otherwise."""
    none, subset = rule.fire(torch.empty(0, WIDTH)), rule.fire(numbers(3, 30, WIDTH))

    assert [0, 0, 0] == [len(column) for column in none]
    assert [column.dtype for column in subset] == [column.dtype for column in none]


@pytest.mark.parametrize(
    ("rule", "promised"), list(zip(RULES, [4, 4, 4, None, None], strict=True)), ids=NAMES
)
def test_a_rule_promises_a_number_or_none(rule: ActivationFunction, promised: int | None) -> None:
    """Whoever keeps k of them promises k; a threshold promises nothing."""
    assert promised == rule.declared_l0


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_moves_with_its_tensors(rule: ActivationFunction) -> None:
    """Elsewhere it is the same rule, with all its tensors there."""
    moved = rule.to(torch.device("meta"))

    assert type(rule) is type(moved)
    assert all(value.device.type == "meta" for value in vars(moved).values() if isinstance(value, Tensor))
