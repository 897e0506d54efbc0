"""How many tokens questions cost, counted before they are asked.

1. A prompt is tokenised as its server would do it: by the model's tokenizer and chat template.
2. A prefix cache holds whole blocks. A prompt is spared the blocks at its beginning that an earlier one had; vLLM
   computes its last token in any case, and all of it when log-probabilities of the prompt are asked for.
3. A reply is as long as those of the few-shot turns, which show its form; a list has as many entries as examples are
   asked about. Without such turns, one to a judging question is the right one. Where nothing shows it, it is as long as
   it may be.

`DryRunReader` counts the requests of explainers and scorers that are run with it. Its replies are those of the few-shot
turns, so that what depends on a verdict goes on as it would; what depends on an explanation needs another one, since an
explainer does not take its own examples for one. Knows no prices, and of tokenizers only what `Tokenizer` has.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from tasks.contexts import render
from tasks.llm.base import Reader
from tasks.llm.request import Message, Outcome, Reply, Request, RequestKey, feature_of

BLOCK = 16
"""Tokens per block of vLLM's prefix cache on a GPU."""

_TURN = 4
"""Tokens that a chat template puts before a turn, where the tokenizer has no template to look them up in; and one
after it. ChatML and Llama 3 have as many."""
_FRAME = -1
"""Stands for each of them; no token has this id."""


class Tokenizer(Protocol):
    """What is needed of a model's tokenizer."""

    chat_template: Any
    model_max_length: int

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text."""
        ...

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """The token ids of a chat."""
        ...


@dataclass(frozen=True)
class Bill:
    """What some questions take; halves are means over features."""

    requests: float = 0.0
    prompt: float = 0.0
    """Prompt tokens, the cached ones among them."""
    cached: float = 0.0
    completion: float = 0.0
    longest: float = 0.0
    """The same, were every reply that is prose, or JSON with prose in it, as long as it may be."""

    def __add__(self, other: "Bill") -> "Bill":
        return Bill(
            self.requests + other.requests,
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.longest + other.longest,
        )

    def times(self, factor: float) -> "Bill":
        """The bill of so many times as much."""
        return Bill(*(count * factor for count in astuple(self)))


@dataclass
class PrefixCache:
    """Which blocks of prompts a server has seen; never full, as one that holds a feature's questions is enough."""

    block: int | None = BLOCK
    """Tokens per block; None where the server caches nothing."""
    scored: bool = False
    """Whether prompts whose own log-probabilities are asked for are spared too."""
    _seen: set[int] = field(default_factory=set)

    def spared(self, ids: Sequence[int], *, reads: bool = True) -> int:
        """How many tokens of a prompt need not be computed; the prompt is remembered from here on."""
        if self.block is None:
            return 0
        chain, spared, missed = 0, 0, not reads
        for end in range(self.block, len(ids) + 1, self.block):
            chain = hash((chain, tuple(ids[end - self.block : end])))
            missed = missed or chain not in self._seen
            self._seen.add(chain)
            if not missed and end < len(ids):
                spared = end
        return spared


def bill(request: Request, tokenizer: Tokenizer, cache: PrefixCache) -> Bill:
    """What one request takes that has no parts."""
    if request.texts:
        texts = [tokenizer.encode(text, add_special_tokens=True) for text in request.texts]
        return Bill(requests=1, prompt=sum(map(len, texts)))
    ids = prompt_ids(request, tokenizer)
    cached = cache.spared(ids, reads=cache.scored or request.prompt_logprobs is None)
    reply = reply_tokens(request, tokenizer)
    labels = request.choices or request.pattern is not None
    return Bill(1, len(ids), cached, reply, reply if labels else request.max_tokens)


def prompt_ids(request: Request, tokenizer: Tokenizer) -> list[int]:
    """The prompt of a chat or of a plain completion as the server sees it."""
    if request.prompt is not None:
        return tokenizer.encode(request.prompt, add_special_tokens=True)
    if tokenizer.chat_template is None:
        return _framed(request.messages, tokenizer)
    turns = [{"role": message.role, "content": message.text} for message in request.messages]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
    return list(ids)


def _framed(messages: Sequence[Message], tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = []
    for message in messages:
        ids += [_FRAME] * _TURN
        ids += _plain_ids(tokenizer, message.text)
        ids.append(_FRAME)
    return ids + [_FRAME] * _TURN


@lru_cache(maxsize=1024)
def _plain_ids(tokenizer: Tokenizer, text: str) -> Sequence[int]:
    """The ids of a text; kept, since the instructions and few-shot turns of a prompt come with every question."""
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def reply_tokens(request: Request, tokenizer: Tokenizer) -> int:
    """How long the reply is likely to be, its end included."""
    shown = answers(request)
    if not shown:
        return request.max_tokens
    lengths = [len(_plain_ids(tokenizer, answer)) + 1 for answer in shown]
    return min(request.max_tokens, round(sum(lengths) / len(lengths)))


def answers(request: Request) -> list[str]:
    """The answers of a request's few-shot turns, as they would be to it; without any, the right one if it is known."""
    shown = [
        _as_long(message.text, len(request.contexts))
        for message in request.messages
        if message.role == "assistant"
    ]
    asked = render.read_question(request.messages[-1].text) if request.messages and not shown else None
    right = None if asked is None or asked.named is None else _right_answer(request, asked.named)
    return shown if right is None else [right]


def _right_answer(request: Request, named: render.Named) -> str | None:
    """The right answer to a judging question in the form that it asks for; None where nobody knows it."""
    if named in ("described", "intruder"):
        return None if request.right is None else str(request.right)
    labels = [int(truth) for truth in request.truths]
    if named == "fitting":
        return json.dumps([number for number, label in enumerate(labels, start=1) if label])
    return json.dumps(labels if named == "each" else labels[0]) if labels else None


def _as_long(answer: str, examples: int) -> str:
    """A list of labels with as many of them as there are examples; anything else as it is."""
    try:
        labels = json.loads(answer)
    except ValueError:
        return answer
    if not isinstance(labels, list) or not labels or not examples:
        return answer
    return json.dumps([labels[i % len(labels)] for i in range(examples)])


class DryRunReader(Reader):
    """Counts what it is asked; see `bills`."""

    def __init__(self, tokenizer: Tokenizer | None, cache: PrefixCache) -> None:
        """Count as a server with this tokenizer and cache; without a tokenizer only requests are counted."""
        self._tokenizer, self._cache = tokenizer, cache
        self.bills: dict[RequestKey, Bill] = defaultdict(Bill)
        """What the requests about each explanation cost, by feature, replicate and control."""

    async def ask(self, request: Request) -> Outcome:
        """Count a request and reply as its few-shot turns do."""
        about = RequestKey.of_explanation(request.key)
        if self._tokenizer is None:
            self.bills[about] += Bill(requests=1)
        else:
            self.bills[about] += bill(request, self._tokenizer, self._cache)
        return Outcome(
            request, Reply(_example_reply(request)), None, "nowhere", "nobody", attempts=1, latency=0.0
        )


def _example_reply(request: Request) -> str:
    """One of the few-shot answers, another one for the next feature."""
    shown = answers(request)
    feature = feature_of(request.key) or 0
    return shown[feature % len(shown)] if shown else json.dumps([])
