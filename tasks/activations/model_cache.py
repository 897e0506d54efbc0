"""Per-process cache of the loaded model and coders, their check on the corpus, and the batch size that fits.

The model and coders are loaded once and kept from shard to shard. Memory that allocators keep can be released here.
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
"""Sequences per batch on a CPU, where larger batches are no faster."""

MAX_BATCH_TOKENS = 2**16
"""Most tokens per batch: they keep any GPU busy, and more would only take memory."""

GPU_SHARE = 0.5
"""Share of the GPU memory beyond the model and coders that a batch may take; the rest is for blocks and firings."""


def largest_batch(device: torch.device, length: int, held: int, forward: Callable[[int], object]) -> int:
    """Sequences of `length` tokens per batch: on a GPU the largest power of two that fits into memory.

    `held` is the memory of the model and all of the run's coders, in bytes. `forward` runs a given number of sequences.
    Its memory is measured with one and two of them and grows linearly. The choice depends on memory only, not on time,
    so that machines with the same GPU choose the same number and write the same bytes.
    """
    if device.type != "cuda":
        return CPU_BATCH
    forward(1)  # memory that libraries allocate once must not count as a sequence's
    taken = [_bytes_taken(device, forward, sequences) for sequences in (1, 2)]
    # Allocators round up, so the second sequence may appear to take no memory.
    each = max(1, taken[1] - taken[0], taken[1] // 4)
    total = torch.cuda.get_device_properties(device).total_memory
    return batch_that_fits(each, int(GPU_SHARE * (total - held)), length)


def batch_that_fits(each: int, room: int, length: int) -> int:
    """The largest power of two of sequences of `length` tokens that takes at most `room` bytes, `each` for one."""
    most = max(1, min(room // each, MAX_BATCH_TOKENS // length))
    return 1 << (most.bit_length() - 1)


def _bytes_taken(device: torch.device, forward: Callable[[int], object], sequences: int) -> int:
    """Peak memory of a forward pass in addition to what was allocated before, in bytes."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    forward(sequences)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def release_free_memory() -> None:
    """Return free memory that allocators keep to the system: with threads taking turns at shards it would grow."""
    pa.default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> "ctypes._NamedFuncPointer | None":
    """glibc's malloc_trim; None with another C library."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


CHECKED_SEQUENCES = 16
"""Sequences on which coders are checked before anything is written."""

SCANNED_SEQUENCES = 1024
"""Sequences that are checked at a time for tokens without an embedding."""

_current_run: list[Hashable] = []

_statistics: dict[Coder, SiteStatistics] = {}
"""Site statistics of the coders whose source needs them."""

DEVICE = RLock()
"""Held while computing on the process' device: one shard computes at a time, while others are written."""


def evict_other_runs(mark: Hashable, statistics: Mapping[Coder, SiteStatistics] | None = None) -> None:
    """Empty the cache if it belongs to another run, since files of the same name may have changed.

    `mark` identifies the run by content. `statistics` that were measured before for its coders' sites are used instead
    of measuring them again.
    """
    with DEVICE:
        if _current_run != [mark]:
            evict_all()
            _current_run[:] = [mark]
        _use_statistics(statistics or {})


def measured_statistics() -> dict[Coder, SiteStatistics]:
    """Site statistics of the checked coders that need them, measured here or passed to `evict_other_runs`."""
    with DEVICE:
        return dict(_statistics)


@lru_cache(maxsize=1)
def loaded_subject(subject: Subject) -> LoadedSubject:
    """The subject model, cached: loading it takes far longer than a shard."""
    with DEVICE:
        disable_progress_bar()
        return subject.load()


@cache
def loaded_coder(subject: Subject, coder: Coder) -> HookedCoder:
    """A coder on the model's device, with its site and the site that it reconstructs."""
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
            msg = f"the coder {coder.name} cannot be moved to the device {model.device} ({reason}): name another"
            raise WrongRequest(msg) from error
        return HookedCoder(site, moved, None if sparse_coder.target is None else target)


@lru_cache(maxsize=1)
def loaded_logit_lens(subject: Subject, *, fold_norm: bool) -> LogitLens:
    """The logit lens that turns decoder rows into logits."""
    with DEVICE:
        return logit_lens(loaded_subject(subject), fold_norm=fold_norm)


def writes_to_the_stream(subject: Subject, coder: Coder) -> bool:
    """Whether decoder rows are vectors of the residual stream, provided that they have its width.

    Those of a coder that reconstructs the input of a linear layer, such as the outputs of attention heads, are not;
    those of neurons are, since they are rows of that layer's weight.
    """
    with DEVICE:
        hooked = loaded_coder(subject, coder)
        reads_a_map = loaded_subject(subject).writes(hooked.site) is not None
        return isinstance(hooked.coder, CoordinateCoder) or hooked.target != hooked.site or not reads_a_map


def fitting_batch(subject: Subject, coders: Iterable[Coder], length: int) -> int:
    """Sequences per batch where the config doesn't set it."""
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
    """Load the model and all coders, and check each coder on the corpus' first sequences; writes nothing.

    Raises `WrongRequest` with the first problem of corpus, model, site or coder.
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
    """Free the model, the coders and all that is derived from them."""
    _statistics.clear()
    for kept in (check_coders, _fitting_batch, loaded_logit_lens, loaded_coder, loaded_subject):
        kept.cache_clear()


def _measure(model: LoadedSubject, coders: tuple[Coder, ...], tokens: np.ndarray) -> None:
    """Measure the site statistics that coders need and that are not known yet.

    Always on the same tokens in one batch, so that a coder doesn't depend on the run's shards or batches.
    """
    with DEVICE:
        unknown = [coder for coder in coders if coder.source.needs_statistics and coder not in _statistics]
        sites = {coder: _site(model, coder) for coder in unknown}
        if sites:
            measured = collect.measure_statistics(model, list(dict.fromkeys(sites.values())), tokens)
            _statistics.update({coder: measured[site] for coder, site in sites.items()})


def _site(model: LoadedSubject, coder: Coder) -> Site:
    """The coder's site from the config, else from its checkpoint. Raises `WrongRequest` if neither names one."""
    declared = coder.named_site()
    if declared is None:
        msg = f"nothing names the site of the coder {coder.name}: give it one, such as layers.5"
        raise WrongRequest(msg)
    return model.site(declared.site, centred=declared.centred)


def _centred(coder: Coder) -> bool:
    """Whether a checkpoint was trained on a model with centred writing weights.

    It then reconstructs centred vectors, whichever site the config gives it.
    """
    declared = coder.source.declared_site()
    return declared is not None and declared.centred


def _refuse_tokens(model: LoadedSubject, corpus: Corpus, first: np.ndarray) -> None:
    """Refuse a corpus that has a token without an embedding anywhere; `first` are the tokens of its first sequences.

    This tokenises the whole corpus, but only if the tokenizer's vocabulary has such tokens.
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
        msg = f"corpus.sequence is {sequence}, and the model has {most} positions: choose at most that many"
        raise WrongRequest(msg)
