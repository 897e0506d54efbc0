"""Check on a first batch that each coder fits its site, and refuse one that doesn't.

A coder at the wrong site raises no error by itself: it gives firings that mean nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from storage.errors import WrongRequest
from tasks.activations.collect import HookedCoder, site_vectors
from tasks.activations.hooks import capture_vectors
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site, unwrapped
from tasks.coders.sparse_coder import SparseCoder

WORST_FVU = 1.0
"""A coder that explains less variance than the mean vector does not belong to the site."""

WORST_L0 = 3.0
"""Largest factor between the features that fire per token and the number that the coder declares."""

MAX_NAMED_SITES = 5
"""Largest number of fitting sites that an error message names."""


class CoderFit(NamedTuple):
    """How well a coder fits vectors of its site."""

    fvu: float | None
    """Fraction of variance unexplained: 0 is perfect, 1 is the mean vector; None where no site can be compared."""
    l0: float
    """Features that fire on a token, on average."""
    declared_l0: float | None
    """The L0 that the checkpoint declares; None where its format has none."""
    baseline: bool = False
    """Whether it is a baseline, which need not fit."""
    firing: int = 0
    """Features that fire on any of the tokens."""
    width: int = 0
    """All its features."""
    tokens: int = 0
    """Tokens that it was measured on."""


def check_fits(
    subject: LoadedSubject, coders: Mapping[str, HookedCoder], tokens: np.ndarray
) -> dict[str, CoderFit]:
    """Each coder's fit on `tokens` [sequences, length], one batch; raises `WrongRequest` at the first that doesn't fit.

    The beginning-of-sequence token is left out: its vector is enormous in many models and would dominate the variance.
    """
    sites = [site for hooked in coders.values() for site in (hooked.site, hooked.target) if site]
    batch = next(site_vectors(subject, sites, tokens, len(tokens), keep_bos=False))
    fits = {}
    for name, (site, coder, target) in coders.items():
        x = batch.vectors[site]
        if x.shape[1] != coder.d_in:
            near = ", ".join(_fitting(subject, site, coder.d_in, tokens[:1])) or "none"
            msg = (
                f"the coder {name} reads vectors of {coder.d_in}, but {site} gives vectors of {x.shape[1]}: "
                f"name a site of that width (in {_block(site)}: {near})"
            )
            raise WrongRequest(msg)
        fits[name] = measure_fit(coder, x, None if target is None else batch.vectors[target])
        if not coder.baseline:
            _refuse_misfit(name, site, fits[name])
    return fits


@torch.inference_mode()
def measure_fit(coder: SparseCoder, x: Tensor, target: Tensor | None) -> CoderFit:
    """The coder's fit on vectors [tokens, d_in]; `target` [tokens, d_out] is what it should reconstruct."""
    fired = coder.encode(x)
    l0 = len(fired.token) / max(1, len(x))
    firing = int(fired.feature.unique().numel())
    fit = CoderFit(None, l0, coder.declared_l0, coder.baseline, firing, coder.width, len(x))
    if target is None or coder.decoder is None or coder.d_out != target.shape[1]:
        return fit
    target = target.float()
    left = (target - coder.reconstruct(x, fired)).square().sum()
    variance = (target - target.mean(0)).square().sum()
    return fit._replace(fvu=(left / variance).item())


def _refuse_misfit(name: str, site: Site, fit: CoderFit) -> None:
    if fit.fvu is not None and not fit.fvu <= WORST_FVU:  # also refuses NaN
        msg = (
            f"the coder {name} does not fit {site}: it leaves {fit.fvu:.3g} of the variance unexplained "
            f"(FVU, above {WORST_FVU:g}) with {fit.l0:.1f} features per token: check its site and side"
        )
        raise WrongRequest(msg)
    declared = fit.declared_l0
    if declared and not declared / WORST_L0 <= fit.l0 <= declared * WORST_L0:
        msg = (
            f"the coder {name} does not fit {site}: {fit.l0:.1f} features fire per token where it declares "
            f"{declared:g}{'' if fit.fvu is None else f' (FVU {fit.fvu:.3g})'}: check its site and side"
        )
        raise WrongRequest(msg)


def _fitting(subject: LoadedSubject, site: Site, width: int, tokens: np.ndarray) -> list[str]:
    """Up to `MAX_NAMED_SITES` sites of this width in the same block."""
    block = site_widths(subject, _block(site), tokens)
    return [str(other) for other, size in block.items() if size == width][:MAX_NAMED_SITES]


@torch.inference_mode()
def site_widths(subject: LoadedSubject, block: str, tokens: np.ndarray) -> dict[Site, int]:
    """The width of every site in a block that gives a vector per token, from one forward pass over `tokens` each."""
    widths: dict[Site, int] = {}
    ids = torch.from_numpy(tokens.astype(np.int64)).to(subject.device)
    for path, module in subject.model.named_modules():
        name = unwrapped(path)
        for side in ("output", "input") if f"{name}.".startswith(f"{block}.") else ():
            site = Site(name, side)
            try:
                with capture_vectors(subject.model, {site: module}) as forward:
                    widths[site] = forward(ids)[site].shape[-1]
            except WrongRequest:
                continue
    return widths


def _block(site: Site) -> str:
    """The name of the site's block: the path up to the layer's number."""
    parts = site.module.split(".")
    number = next((place for place, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[: number + 1])
