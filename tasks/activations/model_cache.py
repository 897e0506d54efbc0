"""The model and the coders that this process has in memory: loaded once, kept from shard to shard, tried out first."""

from collections.abc import Hashable, Iterable, Mapping
from functools import cache, lru_cache
from threading import RLock

import numpy as np
import torch
from transformers.utils.logging import disable_progress_bar

from storage.errors import WrongRequest
from tasks.activations import collect, fit_check, memory, site_names
from tasks.activations.collect import Hooked, vectors
from tasks.activations.config import Coder
from tasks.activations.corpus import Corpus
from tasks.activations.directions import Reading, reading
from tasks.activations.model import LoadedSubject
from tasks.activations.pack import pack, shards
from tasks.activations.sites import Site
from tasks.activations.subject import Subject
from tasks.coders.base import Place, SiteStatistics
from tasks.coders.sparse_coder import Coordinates

TRIED = 16
"""Sequences on which coders are tried out before anything is written."""

LOOKED_THROUGH = 1024
"""Sequences at once in which tokens are looked for that the model does not know."""

_held: list[Hashable] = []

_statistics: dict[Coder, SiteStatistics] = {}
"""Of the sites of coders that are made to their measure."""

DEVICE = RLock()
"""Held by who computes on the process' device: shards take turns there, while others are being written."""


def hold(mark: Hashable, statistics: Mapping[Coder, SiteStatistics] | None = None) -> None:
    """Free what another work has left here: its files may have changed since, under the same names.

    `mark` says by content what the work consists of. `statistics` of its coders' sites, as they were measured once, are
    taken instead of measuring them here.
    """
    with DEVICE:
        if _held != [mark]:
            forget()
            _held[:] = [mark]
        _know(statistics or {})


def known() -> dict[Coder, SiteStatistics]:
    """The statistics of the coders that were tried out and need them, as measured or as they were known before."""
    with DEVICE:
        return dict(_statistics)


@lru_cache(maxsize=1)
def loaded(subject: Subject) -> LoadedSubject:
    """The subject model; loading it takes far longer than a shard."""
    with DEVICE:
        disable_progress_bar()
        return subject.load()


@cache
def hooked(subject: Subject, coder: Coder) -> Hooked:
    """A coder on the model's device, with its site and the one that it reconstructs."""
    with DEVICE:
        model = loaded(subject)
        site = _site(model, coder)
        d = next(vectors(model, [site], np.zeros((1, 4)), 1, keep_bos=True)).vectors[site].shape[1]
        place = Place(str(site), d, model.writes(site), _statistics.get(coder))
        found = coder.source.load(coder.site, place)
        target = site_names.site(found.target, model, centred=_centred(coder)) if found.target else site
        try:
            moved = found.to(model.device, getattr(torch, coder.dtype))
        except (RuntimeError, AssertionError) as error:  # how torch says that a device is full
            said = str(error).splitlines()[0]
            msg = f"the coder {coder.name} does not go on the device {model.device} ({said}): name another"
            raise WrongRequest(msg) from error
        return Hooked(site, moved, None if found.target is None else target)


@lru_cache(maxsize=1)
def reading_of(subject: Subject, *, fold_norm: bool) -> Reading:
    """What turns decoder rows into logits."""
    with DEVICE:
        return reading(loaded(subject), fold_norm=fold_norm)


def writes_to_the_stream(subject: Subject, coder: Coder) -> bool:
    """Whether decoder rows may be taken for vectors of the residual stream, if they are as wide as it.

    Those of a coder that reconstructs the input of a linear map, such as the heads' outputs, may not; neurons' are
    what that map makes of them.
    """
    with DEVICE:
        found = hooked(subject, coder)
        reads_a_map = loaded(subject).writes(found.site) is not None
        return isinstance(found.coder, Coordinates) or found.target != found.site or not reads_a_map


def fitting_batch(subject: Subject, coders: Iterable[Coder], length: int) -> int:
    """Sequences that pass through the model at once where the config doesn't say."""
    with DEVICE:
        return _fitting_batch(subject, tuple(coders), length)


@lru_cache(maxsize=1)
def _fitting_batch(subject: Subject, coders: tuple[Coder, ...], length: int) -> int:
    model = loaded(subject)
    ours = [hooked(subject, coder) for coder in coders]
    sites = [found.site for found in ours]
    held = sum(weight.nbytes for weight in model.model.parameters())
    held += sum(found.coder.encoder.nbytes for found in ours)

    def forward(sequences: int) -> None:
        for _ in vectors(model, sites, np.zeros((sequences, length)), sequences, keep_bos=True):
            pass

    return memory.found(model.device, length, held, forward)


@lru_cache(maxsize=1)
def try_out(subject: Subject, corpus: Corpus, coders: tuple[Coder, ...]) -> dict[str, fit_check.Fit]:
    """Load all, and measure each coder on the corpus' first sequences; writes nothing.

    Raises `WrongRequest` with the first thing that is wrong with corpus, model, site or coder.
    """
    tokenizer, rows = subject.tokenizer(), min(corpus.rows, TRIED)
    _refuse_length(loaded(subject), corpus.sequence)
    packed = pack(corpus.documents(), tokenizer, corpus.sequence, rows, corpus.packing)
    tokens = np.array([row["tokens"] for row in packed])
    _refuse_tokens(loaded(subject), corpus, tokens)
    _measure(loaded(subject), coders, tokens)
    found = {coder.name: hooked(subject, coder) for coder in coders}
    with DEVICE:
        return fit_check.check(loaded(subject), found, tokens)


def _know(statistics: Mapping[Coder, SiteStatistics]) -> None:
    if any(_statistics.get(coder, found) != found for coder, found in statistics.items()):
        hooked.cache_clear()
    _statistics.update(statistics)


def forget() -> None:
    """Free them."""
    _statistics.clear()
    for kept in (try_out, _fitting_batch, reading_of, hooked, loaded):
        kept.cache_clear()


def _measure(model: LoadedSubject, coders: tuple[Coder, ...], tokens: np.ndarray) -> None:
    """Measure the sites of coders that are made to their measure, where nobody has yet.

    Always on the same tokens, at once: neither shards nor batches of a run change what a coder is.
    """
    with DEVICE:
        unknown = [coder for coder in coders if coder.source.needs_statistics and coder not in _statistics]
        sites = {coder: _site(model, coder) for coder in unknown}
        if sites:
            found = collect.measure(model, list(dict.fromkeys(sites.values())), tokens)
            _statistics.update({coder: found[site] for coder, site in sites.items()})


def _site(model: LoadedSubject, coder: Coder) -> Site:
    """The site of a coder: the config's, else the one that its checkpoint names."""
    declared = None if coder.site is not None else coder.source.declared()
    name = coder.site or (declared.site if declared else None)
    if name is None:
        msg = f"nothing names the site of the coder {coder.name}: give it one, such as layers.5"
        raise WrongRequest(msg)
    return site_names.site(name, model, centred=declared is not None and declared.centred)


def _centred(coder: Coder) -> bool:
    """Whether a checkpoint was trained on a model that writes vectors without a mean.

    Those are what it reconstructs, whatever site it is put at here.
    """
    declared = coder.source.declared()
    return declared is not None and declared.centred


def _refuse_tokens(model: LoadedSubject, corpus: Corpus, first: np.ndarray) -> None:
    """Refuse a corpus with a token that the model has no embedding for, wherever it occurs; `first` are its beginning.

    The whole corpus is tokenised for it, but only where the tokenizer knows such tokens.
    """
    model.refuse_unknown(first.flatten())
    if max(model.tokenizer.get_vocab().values(), default=0) < model.embeddings:
        return
    documents = corpus.documents()
    for table in shards(
        documents, model.tokenizer, corpus.sequence, corpus.rows, LOOKED_THROUGH, corpus.packing
    ):
        model.refuse_unknown(table["tokens"].combine_chunks().flatten().to_numpy())


def _refuse_length(model: LoadedSubject, sequence: int) -> None:
    most = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
    if most is not None and sequence > most:
        msg = f"corpus.sequence is {sequence}, and the model has {most} positions: choose at most so many"
        raise WrongRequest(msg)
