"""Random weights are uniform on the sphere, the same for the same seed, and decode with their transpose."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.coders import baselines
from tasks.coders.base import HookSite, SiteStatistics
from tasks.coders.baselines import RandomWeights, random_directions

D = 24
STATISTICS = SiteStatistics(
    tuple(random_directions(1, D, 5)[0].tolist()), tuple((1 + random_directions(1, D, 6)[0]).tolist())
)
PLACE = HookSite("layers.2", D, statistics=STATISTICS)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**40), st.integers(1, 3000), st.integers(1, 3000))
def test_rows_are_of_norm_one_and_depend_on_their_number_alone(seed: int, width: int, other: int) -> None:
    """Each row is a unit vector, and a wider coder begins with the rows of a narrower one."""
    rows, others = random_directions(width, 5, seed), random_directions(other, 5, seed)
    both = min(width, other)

    torch.testing.assert_close(rows.norm(dim=1), torch.ones(width))
    assert torch.equal(rows[:both], others[:both])


def test_blocks_do_not_change_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many rows are drawn at once bounds memory and changes nothing."""
    whole = random_directions(100, D, 22)
    monkeypatch.setattr(baselines, "BLOCK_ROWS", 7)

    assert torch.equal(whole, random_directions(100, D, 22))


def test_threads_do_not_change_the_weights() -> None:
    """Any number of threads gives the same bits."""
    threads, drawn = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            drawn.append(random_directions(2000, D, 22))
    finally:
        torch.set_num_threads(threads)

    assert torch.equal(*drawn)


def test_a_seed_means_the_same_everywhere() -> None:
    """What was drawn once, on another day and machine, is drawn again."""
    expected = [[-0.61894375, -0.5332029, -0.5767177], [-0.2771857, 0.64425045, -0.71281797]]

    assert expected == pytest.approx(random_directions(2, 3, 22).numpy(), abs=1e-7)


def test_directions_are_uniform() -> None:
    """Over many rows no direction is preferred: the mean is near zero, the covariance near that of a sphere."""
    rows = random_directions(20_000, 4, 22)

    assert rows.mean(0).abs().max() < 0.02
    torch.testing.assert_close(rows.T @ rows / len(rows), torch.eye(4) / 4, rtol=0, atol=0.01)


def test_it_is_a_topk_coder_with_its_transpose() -> None:
    """The k rows that a standardised vector is most aligned with fire, and the same rows decode."""
    coder = RandomWeights(width=100, k=7, seed=1).load("layers.2", PLACE)
    x, rows = torch.randn(11, D), random_directions(100, D, 1)
    mean, deviation = torch.tensor(STATISTICS.mean), torch.tensor(STATISTICS.deviation)

    firings = coder.encode(x)
    best = ((x - mean) / deviation @ rows.T).topk(7)
    expected = torch.zeros(11, 100).scatter(1, best.indices, best.values)
    result = torch.zeros(11, 100)
    result[firings.token, firings.feature] = firings.activation

    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(coder.reconstruct(x, firings), expected @ rows * deviation + mean)
    assert (100, D, D, 7, True) == (coder.width, coder.d_in, coder.d_out, coder.declared_l0, coder.baseline)


def test_the_weights_are_held_once() -> None:
    """Encoder and decoder are one tensor."""
    coder = RandomWeights(width=100, k=7).load(None, PLACE)

    assert coder.decoder is not None
    assert coder.encoder.data_ptr() == coder.decoder.data_ptr()


def test_a_site_that_nobody_measured_is_no_place() -> None:
    """There is no random coder of vectors as they are: it would see a few coordinates of theirs and no others."""
    with pytest.raises(ValueError, match="has not been measured"):
        RandomWeights(width=100, k=7).load(None, PLACE._replace(statistics=None))


def test_devices_and_precision_keep_its_measure() -> None:
    """Moved and in half precision it standardises by the same numbers."""
    coder = RandomWeights(width=100, k=7).load(None, PLACE)
    moved = coder.to(torch.device("cpu"), torch.bfloat16)
    x = torch.randn(11, D)

    assert torch.bfloat16 == moved.encoder.dtype
    assert torch.equal(coder.reconstruct(x, coder.encode(x)), moved.reconstruct(x, coder.encode(x)))


def stream(tokens: int, d: int) -> torch.Tensor:
    """Vectors like those of a residual stream: three coordinates hundreds of times as large, most with a mean."""
    make = torch.Generator().manual_seed(4)
    mixed = torch.randn(tokens, d // 4, generator=make) @ torch.randn(d // 4, d, generator=make)
    x = mixed + torch.randn(tokens, d, generator=make) + 3 * torch.randn(d, generator=make)
    x[:, :3] = 40 * x[:, :3] + torch.tensor([3000.0, -1500.0, 800.0])
    return x


def test_nearly_all_of_it_fires_on_a_stream_with_outliers() -> None:
    """Of a stream with a huge mean in a few coordinates nearly every feature fires, and none on most tokens."""
    x, k, width = stream(4096, 128), 16, 1024
    statistics = SiteStatistics(tuple(x.mean(0).tolist()), tuple(x.std(0).tolist()))
    as_they_are = SiteStatistics((0.0,) * 128, (1.0,) * 128)

    def fired(measure: SiteStatistics) -> torch.Tensor:
        coder = RandomWeights(width=width, k=k).load(None, HookSite("layers.2", 128, statistics=measure))
        result = coder.encode(x)
        assert k * len(x) == len(result.token)
        return torch.bincount(result.feature, minlength=width) / len(x)

    density = fired(statistics)

    assert (density > 0).float().mean() > 0.99
    assert density.max() < 0.2
    assert (fired(as_they_are) > 0).float().mean() < 0.1  # what it is good for
    assert fired(as_they_are).max() > 0.9


def test_what_is_asked_for_decides_the_digest() -> None:
    """Width, k and seed decide what it is, and the site does not; no checkpoint declares anything."""
    kinds = [RandomWeights(), RandomWeights(seed=1), RandomWeights(k=1), RandomWeights(width=100)]

    assert 4 == len({kind.digest(None) for kind in kinds})
    assert RandomWeights().digest("layers.2") == RandomWeights().digest(None)
    assert RandomWeights().declared_site() is None
    assert RandomWeights.detect("anywhere", None) is None


def test_more_than_there_are_is_refused() -> None:
    """More features than there are cannot fire."""
    with pytest.raises(ValidationError, match="51 of 50 features cannot fire"):
        RandomWeights(width=50, k=51)
