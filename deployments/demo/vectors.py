"""The vectors that the coders are trained on: text in packed rows, and what the subject makes of them at each site."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from tasks.activations.hooks import Forward, capture_vectors
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site

ROW = 256
"""Tokens of a row; the first is the beginning-of-sequence token, whose vector is left out."""

FORWARD_ROWS = 16
"""Rows of a forward pass."""


class CoderSite(NamedTuple):
    """Where a coder reads and what it reconstructs."""

    module: str
    """The module that the coder's folder is named after."""
    transcode: bool = False
    """Whether it reads the module's input and reconstructs its output; else it reconstructs what it reads."""

    @property
    def reads(self) -> Site:
        """The site that it reads."""
        return Site(self.module, "input" if self.transcode else "output")

    @property
    def writes(self) -> Site:
        """The site that it reconstructs."""
        return Site(self.module, "output")


SITES = (CoderSite("layers.5"), CoderSite("layers.9"), CoderSite("layers.9.mlp", transcode=True))


def packed(texts: Sequence[str], subject: LoadedSubject) -> Tensor:
    """Documents one after another, with EOS between them, in rows that start with BOS: [rows, ROW]."""
    tokenizer, bos = subject.tokenizer, subject.bos
    assert bos is not None
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    flat = torch.tensor([token for ids in encoded for token in (*ids, tokenizer.eos_token_id)])
    rows = flat[: len(flat) // (ROW - 1) * (ROW - 1)].view(-1, ROW - 1)
    return torch.cat([torch.full((len(rows), 1), bos), rows], dim=1)


class Vectors:
    """Forward passes through the subject that end at the last site, bfloat16 or float32 as it was loaded."""

    def __init__(self, subject: LoadedSubject, forward: Forward) -> None:
        self.subject = subject
        self.forward = forward

    @torch.no_grad()
    def of(self, rows: Tensor) -> dict[Site, Tensor]:
        """The vectors of every token but BOS, [tokens, d] per site, in float32."""
        pieces = [self.forward(part) for part in rows.split(FORWARD_ROWS)]
        return {
            site: torch.cat([piece[site][:, 1:].flatten(0, 1).float() for piece in pieces])
            for site in pieces[0]
        }


@contextmanager
def site_vectors(subject: LoadedSubject, sites: Sequence[CoderSite]) -> Iterator[Vectors]:
    """One forward pass per batch of rows that gives the vectors at all sites at once."""
    wanted = {side for site in sites for side in (site.reads, site.writes)}
    modules = {site: subject.resolve(site) for site in sorted(wanted)}
    with capture_vectors(subject.model, modules) as forward:
        yield Vectors(subject, forward)
