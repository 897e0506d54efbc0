"""The model and the coders that this process has in memory: loaded once, kept from shard to shard, checked first.

Also how many sequences pass through the model at once, and memory that allocators keep, given back to the system.
"""

import ctypes
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cache, lru_cache
from threading import RLock

import numpy as np
import pyarrow as pa
import torch
from transformers.utils.logging import disable_progress_bar

from storage.errors import WrongRequest
from tasks.activations import collect, fit_check
from tasks.activations.collect import HookedCoder, site_vectors
from tasks.activations.config import Coder
from tasks.activations.corpus import Corpus
from tasks.activations.directions import LogitLens, logit_lens
from tasks.activations.model import LoadedSubject
from tasks.activations.pack import packed_rows, packed_shards
from tasks.activations.sites import Site
from tasks.activations.subject import Subject
from tasks.coders.base import HookSite, SiteStatistics
from tasks.coders.sparse_coder import CoordinateCoder

CPU_BATCH = 32
"""Sequences at once on a CPU, where more gain nothing."""

MAX_BATCH_TOKENS = 2**16
"""Tokens at once that fill any GPU; more only take memory."""

GPU_SHARE = 0.5
"""Of a GPU's memory, what a batch may take: the rest is for the coders' blocks and the firings of a shard."""


def largest_batch(device: torch.device, length: int, held: int, forward: Callable[[int], object]) -> int:
    """Sequences of `length` tokens to pass at once: on a GPU the largest power of two that fits.

    `held` is what the model and all of the run's coders take, in bytes. `forward` runs that many sequences. What it
    takes is measured on one and two and is linear in them. Only memory
    decides and not time, so that machines of one kind find the same number and write the same bytes.
    """
    if device.type != "cuda":
        return CPU_BATCH
    forward(1)  # what libraries set up once is no sequence's
    taken = [_bytes_taken(device, forward, sequences) for sequences in (1, 2)]
    # Allocators round up, so that the second one may seem to take nothing.
    each = max(1, taken[1] - taken[0], taken[1] // 4)
    total = torch.cuda.get_device_properties(device).total_memory
    return batch_that_fits(each, int(GPU_SHARE * (total - held)), length)


def batch_that_fits(each: int, room: int, length: int) -> int:
    """The largest power of two of sequences of `length` tokens that takes at most `room` bytes, `each` for one."""
    most = max(1, min(room // each, MAX_BATCH_TOKENS // length))
    return 1 << (most.bit_length() - 1)


def _bytes_taken(device: torch.device, forward: Callable[[int], object], sequences: int) -> int:
    """Bytes that a pass needs at its peak beyond what was there."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    forward(sequences)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def release_free_memory() -> None:
    """Return what allocators keep for later. Threads that take turns at shards would keep more and more of it."""
    pa.default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> "ctypes._NamedFuncPointer | None":
    """glibc's malloc_trim; null where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


CHECKED_SEQUENCES = 16
"""Sequences on which coders are tried out before anything is written."""

SCANNED_SEQUENCES = 1024
"""Sequences at once in which tokens are looked for that the model does not know."""

_current_run: list[Hashable] = []

_statistics: dict[Coder, SiteStatistics] = {}
"""Of the sites of coders that are made to their measure."""

DEVICE = RLock()
"""Held by who computes on the process' device: shards take turns there, while others are being written."""


def evict_other_runs(mark: Hashable, statistics: Mapping[Coder, SiteStatistics] | None = None) -> None:
    """Free what another work has left here: its files may have changed since, under the same names.

    `mark` says by content what the work consists of. `statistics` of its coders' sites, as they were measured once, are
    taken instead of measuring them here.
    """
    with DEVICE:
        if _current_run != [mark]:
            evict_all()
            _current_run[:] = [mark]
        _use_statistics(statistics or {})


def measured_statistics() -> dict[Coder, SiteStatistics]:
    """The statistics of the coders that were tried out and need them, as measured or as they were known before."""
    with DEVICE:
        return dict(_statistics)


@lru_cache(maxsize=1)
def loaded_subject(subject: Subject) -> LoadedSubject:
    """The subject model; loading it takes far longer than a shard."""
    with DEVICE:
        disable_progress_bar()
        return subject.load()


@cache
def loaded_coder(subject: Subject, coder: Coder) -> HookedCoder:
    """A coder on the model's device, with its site and the one that it reconstructs."""
    with DEVICE:
        model = loaded_subject(subject)
        site = _site(model, coder)
        d = next(site_vectors(model, [site], np.zeros((1, 4)), 1, keep_bos=True)).vectors[site].shape[1]
        place = HookSite(str(site), d, model.writes(site), _statistics.get(coder))
        sparse_coder = coder.source.load(coder.site, place)
        target = model.site(sparse_coder.target, centred=_centred(coder)) if sparse_coder.target else site
        try:
            moved = sparse_coder.to(model.device, getattr(torch, coder.dtype))
        except (RuntimeError, AssertionError) as error:  # how torch says that a device is full
            reason = str(error).splitlines()[0]
            msg = f"the coder {coder.name} does not go on the device {model.device} ({reason}): name another"
            raise WrongRequest(msg) from error
        return HookedCoder(site, moved, None if sparse_coder.target is None else target)


@lru_cache(maxsize=1)
def loaded_logit_lens(subject: Subject, *, fold_norm: bool) -> LogitLens:
    """What turns decoder rows into logits."""
    with DEVICE:
        return logit_lens(loaded_subject(subject), fold_norm=fold_norm)


def writes_to_the_stream(subject: Subject, coder: Coder) -> bool:
    """Whether decoder rows may be taken for vectors of the residual stream, if they are as wide as it.

    Those of a coder that reconstructs the input of a linear map, such as the heads' outputs, may not; neurons' are
    what that map makes of them.
    """
    with DEVICE:
        hooked = loaded_coder(subject, coder)
        reads_a_map = loaded_subject(subject).writes(hooked.site) is not None
        return isinstance(hooked.coder, CoordinateCoder) or hooked.target != hooked.site or not reads_a_map


def fitting_batch(subject: Subject, coders: Iterable[Coder], length: int) -> int:
    """Sequences that pass through the model at once where the config doesn't say."""
    with DEVICE:
        return _fitting_batch(subject, tuple(coders), length)


@lru_cache(maxsize=1)
def _fitting_batch(subject: Subject, coders: tuple[Coder, ...], length: int) -> int:
    model = loaded_subject(subject)
    ours = [loaded_coder(subject, coder) for coder in coders]
    sites = [hooked.site for hooked in ours]
    held = sum(weight.nbytes for weight in model.model.parameters())
    held += sum(hooked.coder.encoder.nbytes for hooked in ours)

    def forward(sequences: int) -> None:
        for _ in site_vectors(model, sites, np.zeros((sequences, length)), sequences, keep_bos=True):
            pass

    return largest_batch(model.device, length, held, forward)


@lru_cache(maxsize=1)
def check_coders(
    subject: Subject, corpus: Corpus, coders: tuple[Coder, ...]
) -> dict[str, fit_check.CoderFit]:
    """Load all, and measure each coder on the corpus' first sequences; writes nothing.

    Raises `WrongRequest` with the first thing that is wrong with corpus, model, site or coder.
    """
    tokenizer, rows = subject.tokenizer(), min(corpus.rows, CHECKED_SEQUENCES)
    _refuse_length(loaded_subject(subject), corpus.sequence)
    packed = packed_rows(corpus.documents(), tokenizer, corpus.sequence, rows, corpus.packing)
    tokens = np.array([row["tokens"] for row in packed])
    _refuse_tokens(loaded_subject(subject), corpus, tokens)
    _measure(loaded_subject(subject), coders, tokens)
    hooked = {coder.name: loaded_coder(subject, coder) for coder in coders}
    with DEVICE:
        return fit_check.check_fits(loaded_subject(subject), hooked, tokens)


def _use_statistics(statistics: Mapping[Coder, SiteStatistics]) -> None:
    if any(_statistics.get(coder, measured) != measured for coder, measured in statistics.items()):
        loaded_coder.cache_clear()
    _statistics.update(statistics)


def evict_all() -> None:
    """Free them."""
    _statistics.clear()
    for kept in (check_coders, _fitting_batch, loaded_logit_lens, loaded_coder, loaded_subject):
        kept.cache_clear()


def _measure(model: LoadedSubject, coders: tuple[Coder, ...], tokens: np.ndarray) -> None:
    """Measure the sites of coders that are made to their measure, where nobody has yet.

    Always on the same tokens, at once: neither shards nor batches of a run change what a coder is.
    """
    with DEVICE:
        unknown = [coder for coder in coders if coder.source.needs_statistics and coder not in _statistics]
        sites = {coder: _site(model, coder) for coder in unknown}
        if sites:
            measured = collect.measure_statistics(model, list(dict.fromkeys(sites.values())), tokens)
            _statistics.update({coder: measured[site] for coder, site in sites.items()})


def _site(model: LoadedSubject, coder: Coder) -> Site:
    """The site of a coder: the config's, else the one that its checkpoint names."""
    declared = None if coder.site is not None else coder.source.declared_site()
    name = coder.site or (declared.site if declared else None)
    if name is None:
        msg = f"nothing names the site of the coder {coder.name}: give it one, such as layers.5"
        raise WrongRequest(msg)
    return model.site(name, centred=declared is not None and declared.centred)


def _centred(coder: Coder) -> bool:
    """Whether a checkpoint was trained on a model that writes vectors without a mean.

    Those are what it reconstructs, whatever site it is put at here.
    """
    declared = coder.source.declared_site()
    return declared is not None and declared.centred


def _refuse_tokens(model: LoadedSubject, corpus: Corpus, first: np.ndarray) -> None:
    """Refuse a corpus with a token that the model has no embedding for, wherever it occurs; `first` are its beginning.

    The whole corpus is tokenised for it, but only where the tokenizer knows such tokens.
    """
    model.refuse_unknown(first.flatten())
    if max(model.tokenizer.get_vocab().values(), default=0) < model.embeddings:
        return
    documents = corpus.documents()
    for table in packed_shards(
        documents, model.tokenizer, corpus.sequence, corpus.rows, SCANNED_SEQUENCES, corpus.packing
    ):
        model.refuse_unknown(table["tokens"].combine_chunks().flatten().to_numpy())


def _refuse_length(model: LoadedSubject, sequence: int) -> None:
    most = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
    if most is not None and sequence > most:
        msg = f"corpus.sequence is {sequence}, and the model has {most} positions: choose at most so many"
        raise WrongRequest(msg)
