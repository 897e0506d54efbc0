"""The replies that rows write, token by token: greedy or drawn, held to a form, ended by a token, a text or a length.

What a form forces is written without asking the model: under the mask its probability is 1.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import numpy as np
import torch
from llguidance import LLMatcher
from tokenizers.decoders import DecodeStream
from torch import Tensor

from tasks.llm.in_process.grammars import Grammars
from tasks.llm.in_process.log_probabilities import entry
from tasks.llm.in_process.prompts import Prompts
from tasks.llm.request import Request, TokenLogprob


@dataclass
class Writing:
    """One reply while it is written."""

    request: Request
    prompt: Sequence[int]
    """The prompt's tokens."""
    prompts: Prompts
    ends: frozenset[int]
    """Tokens that end a reply."""
    form: LLMatcher | None
    text: str = ""
    finish_reason: Literal["stop", "length"] | None = None
    """None while it is being written."""
    written: list[int] = field(default_factory=list)
    """Its tokens, the last one among them that ended it."""
    pending: list[int] = field(default_factory=list)
    """Tokens of it that have not passed through the model."""
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write what the form forces before anything else."""
        self._stream = DecodeStream(ids=list(self.prompt), skip_special_tokens=True)
        self._stops = self.prompts.stops(self.request)
        # Without a seed two replies are meant to differ.
        seed = self.request.seed
        self._random = Random(secrets.randbits(64) if seed is None else seed)  # noqa: S311  (a draw, not a secret)
        if self.request.max_tokens < 1:
            self.finish_reason = "length"
        self._write_forced()

    def choose(self, logits: Tensor, logprobs: Tensor) -> None:
        """Take the next token, by [vocabulary] logits and their log-probabilities, both after the form's mask."""
        token = int(logits.argmax()) if self.request.temperature == 0 else self._draw(logits)
        if self.form is not None and token not in self.ends:
            self.form.consume_token(token)
        self._write(token, logprobs)
        self._write_forced()

    def _draw(self, logits: Tensor) -> int:
        shares = (logits.double() / self.request.temperature).softmax(-1).cumsum(-1)
        # Drawn here and not by torch, so that the device decides nothing.
        place = torch.tensor([self._random.random()], dtype=shares.dtype, device=shares.device) * shares[-1]
        return min(int(torch.searchsorted(shares, place, right=True)), len(shares) - 1)

    def _write(self, token: int, logprobs: Tensor | None = None) -> None:
        """Add a token; without log-probabilities one that is certain."""
        wanted = self.request.top_logprobs
        if wanted is not None:
            before = [*self.prompt[-4:], *self.written[-4:]]
            if logprobs is None:
                (text,) = self.prompts.texts([token], before)
                self.logprobs.append(TokenLogprob(text, 0.0, {text: 0.0} if wanted else {}))
            else:
                self.logprobs.append(entry(self.prompts, token, before, logprobs, wanted))
        self.written.append(token)
        self.pending.append(token)
        if token in self.ends:
            self.finish_reason = "stop"
            return
        self.text += self._stream.step(self.prompts.words, token) or ""
        self._stop()

    def _stop(self) -> None:
        """End the reply at the first text that ends it, or when it is as long as it may be."""
        places = [place for stop in self._stops if (place := self.text.find(stop)) >= 0]
        if places:
            self.text, self.finish_reason = self.text[: min(places)], "stop"
        elif len(self.written) >= self.request.max_tokens:
            self.finish_reason = "length"

    def _write_forced(self) -> None:
        """Write the tokens that the form leaves no choice about, and the end once it allows nothing else."""
        if self.form is None or self.finish_reason:
            return
        for token in self.form.compute_ff_tokens():
            if self.finish_reason or token in self.ends or not self.form.consume_token(token):
                break
            self._write(token)
        if self.form.is_stopped() and not self.finish_reason:
            self._write(min(self.ends))


def choose(writings: Sequence[Writing], logits: Tensor, grammars: Grammars) -> None:
    """Let each reply take its next token, by [replies, vocabulary] logits; those of held ones are masked in place."""
    held = [number for number, writing in enumerate(writings) if writing.form is not None]
    if held:
        allowed = np.stack([grammars.allowed(form) for number in held if (form := writings[number].form)])
        masked = logits[held].masked_fill_(~torch.from_numpy(allowed).to(logits.device), -torch.inf)
        logits[held] = masked
    logprobs = logits.log_softmax(-1)
    for writing, own, chances in zip(writings, logits, logprobs, strict=True):
        writing.choose(own, chances)
