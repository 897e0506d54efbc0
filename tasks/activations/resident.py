"""The model and the coders that this process has in memory: loaded once, kept from shard to shard, tried out first."""

from functools import lru_cache
from itertools import islice

import numpy as np
from transformers.utils.logging import disable_progress_bar

from tasks.activations import gate
from tasks.activations.coder import Coder
from tasks.activations.collect import Hooked
from tasks.activations.corpus import Corpus
from tasks.activations.model import LoadedSubject
from tasks.activations.pack import pack
from tasks.activations.sites import Site
from tasks.activations.subject import Subject

TRIED = 16
"""Sequences on which coders are tried out before anything is written."""


@lru_cache(maxsize=1)
def loaded(subject: Subject) -> LoadedSubject:
    """The subject model; loading it takes far longer than a shard."""
    disable_progress_bar()
    return subject.load()


@lru_cache(maxsize=1)
def hooked(subject: Subject, coders: tuple[Coder, ...]) -> dict[str, Hooked]:
    """The coders by name, each with its site."""
    device = str(loaded(subject).device)
    return {
        coder.name: Hooked(Site.parse(coder.site), coder.source.load(coder.site, device)) for coder in coders
    }


@lru_cache(maxsize=1)
def try_out(subject: Subject, corpus: Corpus, coders: tuple[Coder, ...]) -> dict[str, gate.Fit]:
    """Load all, and measure each coder on the corpus' first sequences; writes nothing.

    Raises `WrongRequest` with the first thing that is wrong with corpus, model, site or coder.
    """
    rows = islice(pack(corpus.documents(), subject.tokenizer(), corpus.sequence, corpus.rows), TRIED)
    tokens = np.array([row["tokens"] for row in rows])
    model = loaded(subject)
    for coder in coders:
        model.resolve(Site.parse(coder.site))
    return gate.check(model, hooked(subject, coders), tokens, keep_bos=corpus.keep_bos)


def forget() -> None:
    """Free them."""
    for kept in (try_out, hooked, loaded):
        kept.cache_clear()
