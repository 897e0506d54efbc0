"""Neurons are the site's own coordinates: what fires is what is largest, and no matrix is made for it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.base import HookSite
from tasks.coders.baselines import Neurons
from tasks.coders.sparse_coder import SparseCoder

D, D_OUT = 48, 8
SITE = "layers.5.mlp.down_proj.input"


def load(k: int | None = 5, writes: Tensor | None = None) -> SparseCoder:
    """The neurons of a site of D coordinates."""
    return Neurons(k=k).load(SITE, HookSite(SITE, D, writes))


def kept(x: Tensor, k: int | None) -> Tensor:
    """The k largest coordinates of each vector as they are, if above zero, and zeros elsewhere."""
    rank = x.argsort(1, descending=True).argsort(1)
    return torch.where((x > 0) & (rank < (D if k is None else k)), x, 0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([1, 5, D, None]))
def test_the_largest_coordinates_fire(seed: int, k: int | None) -> None:
    """The k largest coordinates by signed value fire, or all, as long as they are above zero."""
    x = torch.randn(11, D, generator=torch.Generator().manual_seed(seed))
    coder = load(k)

    firings = coder.encode(x, block=4)
    result = torch.zeros(11, D)
    result[firings.token, firings.feature] = firings.activation

    assert torch.equal(kept(x, k), result)
    assert torch.equal(result, coder.reconstruct(x, firings))
    assert k == coder.declared_l0


def test_they_write_what_the_next_map_makes_of_them() -> None:
    """Decoder rows are the columns of the map that reads the site, and decoding is that map."""
    writes, x = torch.randn(D, D_OUT), torch.randn(11, D)
    coder = load(writes=writes)

    assert coder.decoder is writes
    assert (D, D, D_OUT) == (coder.width, coder.d_in, coder.d_out)
    torch.testing.assert_close(coder.decode(coder.encode(x), 11), kept(x, 5) @ writes)


def test_where_nothing_reads_the_site_alone_nothing_is_decoded() -> None:
    """Without such a map there is no decoder, and reconstruction still has the coordinates."""
    coder, x = load(), torch.randn(3, D)

    assert coder.decoder is None
    assert coder.d_out is None
    assert torch.equal(kept(x, 5), coder.reconstruct(x, coder.encode(x)))


def test_no_matrix_is_made() -> None:
    """The coder of a wide site holds as little as a narrow one's."""
    coder = Neurons().load(SITE, HookSite(SITE, 14_336))

    assert 0 == coder.encoder.numel()
    assert 14_336 == coder.width


def test_half_precision_is_of_no_consequence() -> None:
    """There is no encoder to round: in bfloat16 the coordinates stay what they are, and the width too."""
    x = torch.randn(11, D)
    moved = load().to(torch.device("cpu"), torch.bfloat16)

    assert all(torch.equal(a, b) for a, b in zip(load().encode(x), moved.encode(x), strict=True))
    assert D == moved.width
    assert torch.equal(kept(x, 5), moved.reconstruct(x, moved.encode(x)))


def test_it_is_a_baseline_without_files() -> None:
    """Nothing is declared; what k is decides what they are, and the site does not."""
    assert load().baseline
    assert Neurons().declared_site() is None
    assert Neurons.detect("anywhere", None) is None
    assert Neurons(k=32).digest("layers.1") == Neurons().digest(None)
    assert 3 == len({Neurons(k=k).digest(None) for k in (32, 256, None)})


def test_more_than_there_are_is_refused() -> None:
    """More neurons than the site has cannot fire; none at all is no baseline."""
    with pytest.raises(WrongRequest, match=f"{SITE} has {D} neurons, of which 49 cannot fire"):
        load(k=D + 1)
    with pytest.raises(ValidationError, match="greater than 0"):
        Neurons(k=0)
