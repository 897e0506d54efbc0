"""A coder passes at its own site and is refused elsewhere, with the numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from storage.errors import WrongRequest
from tasks.activations.collect import HookedCoder, site_vectors
from tasks.activations.fit_check import check_fits, measure_fit
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.coders.activation_functions import JumpRelu, TopK
from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.activations.models import D, coder, tokens

IDS = tokens(16, 32)
SITE = Site("layers.2")


def at(subject: LoadedSubject, site: Site = SITE) -> torch.Tensor:
    """The vectors at a site, without the first tokens."""
    return next(site_vectors(subject, [site], IDS, len(IDS), keep_bos=False)).vectors[site]


def fitting(subject: LoadedSubject) -> SparseCoder:
    """A coder of the site: both signs of its principal directions, of which any number may fire."""
    x = at(subject)
    mean = x.mean(0)
    axes = torch.linalg.svd(x - mean).Vh
    both = torch.cat([axes, -axes])
    return SparseCoder(both, torch.zeros(2 * D), mean, both, mean, JumpRelu(torch.tensor(0.0)))


def test_a_fitting_coder_passes(llama: LoadedSubject) -> None:
    """A coder that reconstructs its site is measured and let through."""
    fit = check_fits(llama, {"good": HookedCoder(SITE, fitting(llama), SITE)}, IDS)["good"]

    assert fit.fvu is not None
    assert fit.fvu < 1e-6
    assert D == round(fit.l0)
    assert fit.declared_l0 is None


def test_fvu_is_the_share_of_variance_left(llama: LoadedSubject) -> None:
    """FVU is the squared error over the variance around the mean; L0 counts firings per token."""
    c, x = coder(), at(llama)
    assert c.decoder is not None
    assert c.decoder_bias is not None
    p = torch.relu((x - c.centre) @ c.encoder.T + c.encoder_bias)
    p = torch.where(p >= p.topk(6).values[:, -1:], p, 0)
    error = (x - p @ c.decoder - c.decoder_bias).square().sum()

    fit = measure_fit(c, x, x)

    assert fit.fvu is not None
    np.testing.assert_allclose(error / x.var(0, correction=0).sum() / len(x), fit.fvu, rtol=1e-3)
    np.testing.assert_allclose((p > 0).sum() / len(x), fit.l0)


def test_a_coder_of_another_site_is_refused(llama: LoadedSubject) -> None:
    """A coder that leaves more than the variance unexplained is refused with its FVU and L0."""
    elsewhere = replace(fitting(llama), decoder_bias=at(llama).mean(0) + 5)

    with pytest.raises(WrongRequest, match=r"coder bad does not fit layers\.2: .*FVU, above 1\) with 16\.0"):
        check_fits(llama, {"bad": HookedCoder(SITE, elsewhere, SITE)}, IDS)


def test_a_coder_that_fires_too_little_is_refused(llama: LoadedSubject) -> None:
    """A coder that fires on less than a third of what it declares is refused with both numbers."""
    c = fitting(llama)
    shut = replace(c, encoder_bias=torch.full((2 * D,), -100.0), activation=TopK(12))

    with pytest.raises(WrongRequest, match=r"0\.0 features fire per token where it declares 12"):
        check_fits(llama, {"shut": HookedCoder(SITE, shut, SITE)}, IDS)


def test_nothing_is_measured_on_bos(llama: LoadedSubject) -> None:
    """The first token's vectors, often enormous, count neither in FVU nor in L0."""
    c = fitting(llama)
    everything = next(site_vectors(llama, [SITE], IDS, len(IDS), keep_bos=True)).vectors[SITE]

    result = check_fits(llama, {"c": HookedCoder(SITE, c, SITE)}, IDS)["c"]

    assert measure_fit(c, at(llama), at(llama)) == result
    assert measure_fit(c, everything, everything) != result


def test_a_width_that_does_not_match_names_sites_that_do(llama: LoadedSubject) -> None:
    """A coder of another width is refused with both widths and the sites of its own."""
    with pytest.raises(
        WrongRequest,
        match=r"reads vectors of 24, but layers\.2 gives vectors of 16: .*layers\.2\.mlp\.gate_proj",
    ):
        check_fits(llama, {"wide": HookedCoder(SITE, coder(d=24), SITE)}, IDS)


def test_a_width_that_no_site_has_is_reported(llama: LoadedSubject) -> None:
    """Where no site has the coder's width, the message says so."""
    with pytest.raises(WrongRequest, match=r"in layers\.2: none"):
        check_fits(llama, {"wide": HookedCoder(SITE, coder(d=23), SITE)}, IDS)


def test_a_transcoder_is_measured_at_its_target(llama: LoadedSubject) -> None:
    """A coder that reconstructs another site is compared with that one, and refused by it."""
    mlp = Site("layers.2.mlp")
    affine = torch.linalg.lstsq(at(llama), at(llama, mlp)).solution
    whole = replace(
        fitting(llama),
        encoder_bias=torch.full((2 * D,), -1e6),
        decoder_bias=torch.zeros(D),
        skip=affine.T,
    )

    fit = check_fits(llama, {"t": HookedCoder(SITE, whole, mlp)}, IDS)["t"]

    left = (at(llama, mlp) - at(llama) @ affine).square().sum()
    variance = (at(llama, mlp) - at(llama, mlp).mean(0)).square().sum()
    assert fit.fvu is not None
    np.testing.assert_allclose(left / variance, fit.fvu, rtol=1e-3)
    with pytest.raises(WrongRequest, match="does not fit"):
        check_fits(llama, {"t": HookedCoder(SITE, fitting(llama), Site("layers.2.self_attn"))}, IDS)


def test_what_cannot_be_compared_has_no_fvu(llama: LoadedSubject) -> None:
    """A coder without a target passes with its L0 alone; a baseline passes whatever its FVU is."""
    elsewhere = replace(fitting(llama), decoder_bias=at(llama).mean(0) + 5)

    free = check_fits(llama, {"c": HookedCoder(SITE, elsewhere, None)}, IDS)["c"]
    baseline = check_fits(llama, {"c": HookedCoder(SITE, replace(elsewhere, baseline=True), SITE)}, IDS)["c"]

    assert free.fvu is None
    assert baseline.fvu is not None
    assert baseline.fvu > 1
