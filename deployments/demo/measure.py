"""What written coders are worth: fit, dead features, and the subject's loss with their reconstructions in place.

They are read from their files as gloss reads them, so that the rounding to half precision is in every number.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from deployments.demo.training import SEED
from deployments.demo.vectors import CoderSite, site_vectors
from tasks.activations.fit_check import measure_fit
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.coders.base import HookSite
from tasks.coders.sparse_coder import SparseCoder
from tasks.coders.sparsify import Sparsify

LOSS_ROWS = 4
"""Rows whose logits are held at once."""

Replace = Callable[[Tensor, Tensor], Tensor]
"""From what a module reads and what it writes, both [tokens, d], to what is put in the place of the latter."""


@dataclass(frozen=True)
class Measuring:
    """On how many rows the coders are measured."""

    heldout_rows: int = 256
    """Held-out rows, drawn at random, for the fit."""
    demo_rows: int = 512
    """The first rows of the demo's corpus, for the fit."""
    loss_rows: int = 32
    """The first of the drawn held-out rows, for the losses."""


def measure(
    subject: LoadedSubject,
    folder: Path,
    sites: Sequence[CoderSite],
    rows: Mapping[str, Tensor],
    measuring: Measuring,
) -> dict[str, dict[str, Any]]:
    """Numbers of each coder in `folder`, by module, and the subject's own loss.

    `rows` [rows, tokens] by name: `heldout`, of documents that no coder was trained on, and `demo`, of the demo's
    corpus.
    """
    draw = torch.Generator().manual_seed(SEED)
    heldout = rows["heldout"][torch.randperm(len(rows["heldout"]), generator=draw)]
    parts = {"heldout": heldout[: measuring.heldout_rows], "demo": rows["demo"][: measuring.demo_rows]}
    means: dict[Site, Tensor] = {}
    numbers: dict[CoderSite, dict[str, float]] = {site: {} for site in sites}
    coders: dict[CoderSite, SparseCoder] = {}
    with site_vectors(subject, sites) as vectors:
        for name, part in parts.items():
            at = vectors.of(part)
            for site in sites:
                x, y = at[site.reads], at[site.writes]
                coders[site] = _read(folder, site, x.shape[1])
                fit = measure_fit(coders[site], x, y)
                numbers[site] |= {
                    f"{name}_fvu": _known(fit.fvu, site),
                    f"{name}_l0": fit.l0,
                    f"{name}_dead_share": 1 - fit.firing / fit.width,
                }
                means.setdefault(site.writes, y.mean(0))
    losses = _losses(subject, coders, means, heldout[: measuring.loss_rows])
    return {
        "measured": {f"{name}_tokens": part[:, 1:].numel() for name, part in parts.items()}
        | {"loss_tokens": heldout[: measuring.loss_rows, 1:].numel(), "loss": losses.own},
        "coders": {site.module: numbers[site] | losses.of[site] for site in sites},
    }


def _known(fvu: float | None, site: CoderSite) -> float:
    if fvu is None:
        msg = f"the FVU at {site.module} cannot be computed: its vectors are all alike"
        raise SystemExit(msg)
    return fvu


@dataclass(frozen=True)
class _Losses:
    own: float
    of: dict[CoderSite, dict[str, float]]


def _losses(
    subject: LoadedSubject,
    coders: Mapping[CoderSite, SparseCoder],
    means: Mapping[Site, Tensor],
    rows: Tensor,
) -> _Losses:
    """The subject's loss as it is, and with each site's vectors reconstructed or set to their mean."""
    own, of = mean_loss(subject, rows), {}
    for site, coder in coders.items():
        module, mean = subject.resolve(site.writes), means[site.writes]

        def reconstruct(x: Tensor, y: Tensor, site: CoderSite = site, coder: SparseCoder = coder) -> Tensor:
            read = x if site.transcode else y
            return coder.reconstruct(read, coder.encode(read))

        def forget(_x: Tensor, y: Tensor, mean: Tensor = mean) -> Tensor:
            return mean.expand_as(y)

        with replaced(module, reconstruct):
            spliced = mean_loss(subject, rows)
        with replaced(module, forget):
            ablated = mean_loss(subject, rows)
        of[site] = {
            "spliced_loss": spliced,
            "ablated_loss": ablated,
            "loss_recovered": 1 - (spliced - own) / (ablated - own),
        }
    return _Losses(own, of)


@torch.inference_mode()
def mean_loss(subject: LoadedSubject, rows: Tensor) -> float:
    """Nats per predicted token: all tokens of the rows but BOS."""
    parts = rows.split(LOSS_ROWS)
    losses = [subject.model(input_ids=part, labels=part, use_cache=False).loss.item() for part in parts]
    return sum(loss * len(part) for loss, part in zip(losses, parts, strict=True)) / len(rows)


@contextmanager
def replaced(module: nn.Module, replace: Replace) -> Iterator[None]:
    """Put something in the place of what a module writes for every token but the first of each row, BOS."""

    def hook(_: nn.Module, given: tuple[object, ...], options: dict[str, object], output: object) -> object:
        whole = isinstance(output, tuple)
        y = cast("Tensor", output[0] if whole else output)
        x = cast("Tensor", given[0] if given else options["hidden_states"])
        made = replace(x[:, 1:].flatten(0, 1), y[:, 1:].flatten(0, 1)).view_as(y[:, 1:])
        made = torch.cat([y[:, :1], made.to(y.dtype)], dim=1)
        return (made, *output[1:]) if whole else made

    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _read(folder: Path, site: CoderSite, d: int) -> SparseCoder:
    """A coder as gloss reads it from its folder."""
    name = str(site.reads)
    return Sparsify(path=str(folder)).load(name, HookSite(name, d))
