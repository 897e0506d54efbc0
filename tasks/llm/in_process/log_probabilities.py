"""Log-probabilities of tokens, as vLLM gives them: of the model's own logits, before any temperature."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tasks.llm.in_process.prompts import Prompts
from tasks.llm.request import TokenLogprob

CHUNK = 1 << 25
"""Logits held at once, 128 MB: those of a long prompt over a large vocabulary would fill a GPU."""


def entry(
    prompts: Prompts, token: int, before: Sequence[int], logprobs: Tensor, alternatives: int
) -> TokenLogprob:
    """One token with its alternatives, from [vocabulary] log-probabilities; of those with one text the likeliest."""
    values, ids = (top.tolist() for top in logprobs.topk(min(alternatives, len(logprobs))))
    return _entry(prompts, token, before, float(logprobs[token]), ids, values)


def _entry(
    prompts: Prompts,
    token: int,
    before: Sequence[int],
    own: float,
    ids: Sequence[int],
    values: Sequence[float],
) -> TokenLogprob:
    text, *others = prompts.texts([token, *ids], before)
    top: dict[str, float] = {}
    for other, value in zip(others, values, strict=True):
        if value > -torch.inf:
            top.setdefault(other, value)
    return TokenLogprob(text, own, top)


def chunks(positions: int, vocabulary: int) -> Iterator[slice]:
    """Slices of so many positions whose logits may be held at once."""
    step = max(1, CHUNK // vocabulary)
    for first in range(0, positions, step):
        yield slice(first, first + step)


def entries(
    prompts: Prompts, ids: Sequence[int], first: int, logits: Tensor, alternatives: int
) -> list[TokenLogprob]:
    """The tokens of a prompt from number `first` on, from [n, vocabulary] logits at the tokens before each."""
    logprobs = logits.log_softmax(-1)
    own = logprobs.gather(1, torch.tensor(ids[first : first + len(logits)], device=logits.device)[:, None])
    values, tops = logprobs.topk(min(alternatives, logprobs.shape[1]))
    rows = zip(own[:, 0].tolist(), tops.tolist(), values.tolist(), strict=True)
    return [
        _entry(prompts, ids[place], ids[max(0, place - 4) : place], chance, top, value)
        for place, (chance, top, value) in enumerate(rows, first)
    ]
