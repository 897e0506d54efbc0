"""A TopK coder in training: its gradients, its auxiliary loss, and the folder that gloss reads."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deployments.demo.topk import (
    CoderPlan,
    CoderTraining,
    Scaling,
    TopKCoder,
    folded,
    largest,
    linear_map,
    write_sparsify,
)
from tasks.coders.base import HookSite
from tasks.coders.sparsify import Sparsify

D = 12
PLAN = CoderPlan(features=24, k=3, warmup=1, dead_after=500)


def _vectors(seed: int, tokens: int = 400) -> Tensor:
    """Sums of two of sixteen directions: what a sparse coder can learn."""
    draw = torch.Generator().manual_seed(seed)
    directions = torch.randn(16, D, generator=torch.Generator().manual_seed(0))
    chosen = torch.rand(tokens, 16, generator=draw).topk(2).indices
    return 5 + directions[chosen].sum(1)


def test_the_gradient_of_the_largest_is_that_of_the_dense_product() -> None:
    """Only the k rows of each token are computed, and nothing is lost."""
    x = _vectors(1)
    weight = torch.randn(24, D, generator=torch.Generator().manual_seed(2)).requires_grad_()
    bias = torch.zeros(24, requires_grad=True)

    values, features = largest(x, weight, bias, 3)
    sparse = torch.autograd.grad(values.square().sum(), (weight, bias))
    dense = torch.autograd.grad((x @ weight.T + bias).gather(1, features).square().sum(), (weight, bias))

    assert torch.equal(values.sort().values, (x @ weight.T + bias).topk(3).values.sort().values)
    torch.testing.assert_close(sparse, dense)


def test_a_coder_learns_what_is_sparse() -> None:
    """Vectors of two directions each come to be explained by three features."""
    torch.manual_seed(3)
    training = CoderTraining(D, PLAN, 200)
    scaling = Scaling.of(_vectors(0))
    losses = [training.step(x, x).fvu for x in (scaling.scaled(_vectors(n)) for n in range(200))]

    assert losses[-1] < losses[0] / 3
    torch.testing.assert_close(training.coder.W_dec.norm(dim=1), torch.ones(24))


def test_a_feature_that_was_long_silent_is_given_the_error_of_the_others() -> None:
    """Without the auxiliary loss it would have no gradient, and never fire again."""
    torch.manual_seed(4)
    training = CoderTraining(D, PLAN, 10)
    x = Scaling.of(_vectors(0)).scaled(_vectors(5))
    training.coder.encoder.bias.data[7] = -1e3
    before = training.coder.W_dec.detach().clone()
    fired = [training.step(x, x) for _ in range(2)]
    training.coder.encoder.bias.data[7] = 0
    training.coder.encoder.weight.data[7] *= 1e-3
    training.step(x, x)

    assert [0, 1] == [loss.dead for loss in fired]
    assert not torch.equal(before[7], training.coder.W_dec[7])


@pytest.mark.parametrize("transcode", [False, True])
def test_the_written_coder_is_the_trained_one_on_unscaled_vectors(tmp_path: Path, transcode: bool) -> None:
    """Centre and scale are folded in, so that gloss needs neither."""
    torch.manual_seed(6)
    x = _vectors(7)
    y = 3 * x @ torch.randn(D, D) - 2 if transcode else x
    reads, writes = Scaling.of(x), Scaling.of(y)
    start = linear_map(reads.scaled(x), writes.scaled(y)) if transcode else None
    coder = TopKCoder(D, PLAN, start)
    coder.encoder.bias.data = torch.randn(24) / 10
    coder.b_dec.data = torch.randn(D) / 10
    module = "layers.1.mlp" if transcode else "layers.1"
    write_sparsify(folded(coder, reads, writes), PLAN.k, tmp_path / module, transcode=transcode)

    site = f"{module}.input" if transcode else module
    loaded = Sparsify(path=str(tmp_path)).load(site, HookSite(site, D))

    expected = writes.mean + writes.scale * coder(reads.scaled(x))
    close = (loaded.reconstruct(x, loaded.encode(x)) - expected).norm(dim=1) / (expected - y).norm(dim=1)
    assert close.median() < 5e-3
    assert loaded.target == (module if transcode else "")


def test_the_linear_map_of_linear_vectors_is_theirs() -> None:
    """It starts a transcoder where the best linear one would stand."""
    x = torch.randn(500, D, generator=torch.Generator().manual_seed(8))
    mapped = torch.randn(D, D, generator=torch.Generator().manual_seed(9))

    torch.testing.assert_close(linear_map(x, x @ mapped, ridge=1e-6), mapped, rtol=1e-3, atol=1e-3)
