"""Answers many requests with one model: what several prompts begin with is computed once, and rows go in batches.

1. Beginnings that several of the prompts share are computed level by level, and their keys and values are kept.
2. The rest of each prompt is computed with others of like length, so that little is padding.
3. Replies of more than one token are written together by the rows of a batch.

Which requests come together changes results by rounding only. A batch that does not fit into memory is halved.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from storage.errors import WrongRequest
from tasks.llm.in_process import log_probabilities
from tasks.llm.in_process.block_cache import BLOCK, Block, BlockCache, block_hashes, slots_of
from tasks.llm.in_process.generation import Writing, choose
from tasks.llm.in_process.grammars import Grammars
from tasks.llm.in_process.network import Network, Row, fits_into_memory
from tasks.llm.in_process.prompts import Prompts
from tasks.llm.request import Reply, Request, Structured, TokenLogprob, Usage

_Item = TypeVar("_Item")

_WORTH = 4 * BLOCK
"""Tokens that computing shared beginnings must spare: a pass has costs of its own."""


class Answer(NamedTuple):
    """A reply, or the reason why there is none."""

    reply: Reply | None
    reason: str | None = None
    too_long: bool = False
    structured: Structured | None = None


class Closed(Exception):
    """The reader was closed while it answered."""


@dataclass
class _Question:
    """A request on its way through the model."""

    number: int
    request: Request
    ids: list[int]
    hashes: list[int]
    structured: Structured | None
    computed: int = 0
    """Tokens of its prompt that were computed for it."""
    counted: bool = False
    """Whether those after shared beginnings are among them."""
    answered: bool = False
    writing: Writing = field(init=False)

    @property
    def writes(self) -> bool:
        """Whether its reply takes more than the pass of its prompt."""
        return self.request.max_tokens > 1


def _never() -> bool:
    return False


class Engine:
    """A model with its tokenizer, and what it keeps of the prompts that it has seen."""

    def __init__(
        self, network: Network, prompts: Prompts, grammars: Grammars, ends: frozenset[int], batch_tokens: int
    ) -> None:
        """`ends` are the tokens that end a reply, `batch_tokens` how many go through the model at once."""
        self.network, self.prompts = network, prompts
        self._grammars, self.ends, self._batch = grammars, ends, batch_tokens
        self._cache = BlockCache(network.slots // BLOCK - 1)
        self._closed: Callable[[], bool] = _never

    @torch.inference_mode()
    def answer(
        self,
        requests: Sequence[Request],
        deliver: Callable[[int, Answer], None],
        closed: Callable[[], bool] = _never,
    ) -> None:
        """Answer requests without parts; `deliver` is called with each request's number and answer, in any order.

        Raises `Closed` soon after `closed` has begun to return True.
        """
        self._closed = closed
        try:
            self._answer_all(requests, deliver)
        finally:
            # `closed` may hold whoever holds this engine, and its memory would not be freed at once.
            self._closed = _never

    def _answer_all(self, requests: Sequence[Request], deliver: Callable[[int, Answer], None]) -> None:
        questions = []
        for number, request in enumerate(requests):
            question = self._question(number, request)
            if isinstance(question, Answer):
                deliver(number, question)
            else:
                questions.append(question)
        self._share(questions)
        for batch in self._batches(questions):
            self._in_batches(batch, deliver)

    def _question(self, number: int, request: Request) -> "_Question | Answer":
        """The request with its tokens, or why it cannot be answered."""
        if request.texts:
            return Answer(None, "this reader writes text and makes no vectors of it")
        try:
            ids = self.prompts.ids(request)
        except WrongRequest as error:
            return Answer(None, str(error))
        most = self.network.positions
        if most is not None and len(ids) + request.max_tokens > most:
            what = f"{len(ids):,} tokens and a reply of {request.max_tokens:,}"
            return Answer(None, f"the prompt has {what}, and the model has {most:,} positions", too_long=True)
        if not ids:
            return Answer(None, "the prompt has no tokens")
        structured: Structured | None = None
        if request.held:
            try:
                self._grammars.matcher(request)
                structured = "structured_outputs"
            except ValueError:  # as with servers: asked without a form, and the request log says so
                structured = "plain"
        return _Question(number, request, ids, block_hashes(ids), structured)

    def _share(self, questions: Sequence[_Question]) -> None:
        """Compute, once, what several prompts begin with, from the beginning on; what does not fit is left out."""
        used: set[int] = set()  # of all levels: where one could drop another's blocks, this would never end
        while runs := self._shared_runs(questions, used):
            claims = 0
            for batch in _sized(runs, self._batch, lambda run: len(run.hashes) * BLOCK):
                claims += self._compute_runs(batch, used)
            if not claims:
                return

    def _shared_runs(self, questions: Sequence[_Question], used: set[int]) -> "list[_Run]":
        """The next blocks that several prompts share and no further one leaves, a run for each such group.

        The blocks that are there already become `used`.
        """
        before = [self._cache.find(question.hashes) for question in questions]
        used.update(block.number for blocks in before for block in blocks)
        kept = [len(blocks) for blocks in before]
        counts = Counter(
            chain
            for question, first in zip(questions, kept, strict=True)
            for chain in question.hashes[first:]
        )
        runs: dict[int, _Run] = {}
        spared = 0
        for question, first in zip(questions, kept, strict=True):
            hashes = question.hashes
            sharers = counts[hashes[first]] if first < len(hashes) else 0
            if sharers < 2 or hashes[first] in runs:
                continue
            end = next((n for n in range(first, len(hashes)) if counts[hashes[n]] != sharers), len(hashes))
            runs[hashes[first]] = _Run(question, first, hashes[first:end])
            spared += (sharers - 1) * (end - first) * BLOCK
        return [*runs.values()] if spared >= _WORTH else []

    def _compute_runs(self, runs: "Sequence[_Run]", used: set[int]) -> int:
        """Compute and keep some runs of blocks, without dropping `used` ones; how many blocks that was."""
        before = [self._cache.find(run.question.hashes)[: run.first] for run in runs]
        claimed = [self._cache.claim(run.hashes, used) for run in runs]
        rows = [
            (run, Row(slots_of(past), run.ids(len(blocks)), slots_of(blocks)))
            for run, past, blocks in zip(runs, before, claimed, strict=True)
            if blocks
        ]
        if not rows:
            return 0

        def start() -> None:
            try:
                self._check_open()
                self.network.start([row for _, row in rows])
            except BaseException:
                for run, blocks in zip(runs, claimed, strict=True):
                    self._cache.forget(run.hashes[: len(blocks)])
                raise

        if not fits_into_memory(start):
            if len(runs) == 1:
                return 0
            middle = len(runs) // 2
            return self._compute_runs(runs[:middle], used) + self._compute_runs(runs[middle:], used)
        for run, row in rows:
            run.question.computed += len(row.ids)
        return sum(map(len, claimed))

    def _batches(self, questions: Sequence[_Question]) -> Iterator[list[_Question]]:
        """Questions that go together: those that write and those that do not, by form and by length."""

        def kind(question: _Question) -> tuple[bool, str]:
            request = question.request
            form = repr((request.schema, request.choices, request.pattern))
            return (question.writes, form if question.writes else "")

        def left(question: _Question) -> int:
            return len(question.ids) - BLOCK * len(self._cache.find(question.hashes))

        lengths = {question.number: left(question) for question in questions}
        ordered = sorted(questions, key=lambda question: (kind(question), lengths[question.number]))
        for same in _runs_of(ordered, kind):
            for batch in _sized(same, self._batch, lambda question: lengths[question.number]):
                if batch[0].writes:
                    room = self.network.slots
                    yield from _sized(
                        batch, room, lambda question: len(question.ids) + question.request.max_tokens
                    )
                else:
                    yield batch

    def _in_batches(self, batch: Sequence[_Question], deliver: Callable[[int, Answer], None]) -> None:
        """Answer a batch; in halves where it does not fit into memory."""
        if fits_into_memory(lambda: self._answer_batch(batch, deliver)):
            return
        left = [question for question in batch if not question.answered]
        if len(left) > 1:
            middle = len(left) // 2
            self._in_batches(left[:middle], deliver)
            self._in_batches(left[middle:], deliver)
        for question in left if len(left) == 1 else ():
            reason = f"the model ran out of memory with a prompt of {len(question.ids):,} tokens alone"
            deliver(question.number, Answer(None, reason))

    def _answer_batch(self, batch: Sequence[_Question], deliver: Callable[[int, Answer], None]) -> None:
        self._check_open()
        for question in batch:
            form = (
                self._grammars.matcher(question.request)
                if question.structured == "structured_outputs"
                else None
            )
            question.writing = Writing(question.request, question.ids, self.prompts, self.ends, form)
        before = [self._cache.find(question.hashes) for question in batch]
        used = {block.number for blocks in before for block in blocks}
        claimed = [
            self._cache.claim(question.hashes[len(blocks) :], used)
            for question, blocks in zip(batch, before, strict=True)
        ]
        rows = [
            Row(
                slots_of(past), [*question.ids[BLOCK * len(past) :], *question.writing.pending], slots_of(new)
            )
            for question, past, new in zip(batch, before, claimed, strict=True)
        ]
        try:
            hidden = self.network.start(rows, writes=batch[0].writes)
        except BaseException:
            for question, past, new in zip(batch, before, claimed, strict=True):
                self._cache.forget(question.hashes[len(past) : len(past) + len(new)])
            self.network.select([])
            raise
        prompt_logprobs: list[tuple[TokenLogprob, ...]] = []
        for question, past, new, states in zip(batch, before, claimed, hidden, strict=True):
            if not question.counted:  # or a retry in a smaller batch would count the prompt again
                question.computed += len(question.ids) - BLOCK * len(past)
                question.counted = True
            question.writing.pending.clear()
            prompt_logprobs.append(self._prompt_logprobs(question, past, new, states))
        replies = _Replies(batch, prompt_logprobs, deliver)
        try:
            self._write(replies, torch.stack([states[-1] for states in hidden]))
        finally:
            if batch[0].writes:
                self.network.select([])

    def _prompt_logprobs(
        self, question: _Question, past: Sequence[Block], new: Sequence[Block], states: Tensor
    ) -> tuple[TokenLogprob, ...]:
        """The log-probabilities of a prompt's tokens, from the hidden states [n, d] of its last tokens."""
        wanted, ids = question.request.prompt_logprobs, question.ids
        if wanted is None:
            return ()
        known = next((n for n, block in enumerate(past) if wanted not in block.logprobs), len(past))
        tokens = [token for block in past[:known] for token in block.logprobs[wanted]]
        first = max(1, len(tokens))
        slots = slots_of(past)[first - 1 :]
        if len(slots):
            states = torch.cat([self.network.hidden(slots), states])
        if not tokens:
            tokens.append(TokenLogprob("", None, {}))  # vLLM names no text for the first
        states = states[: len(ids) - first]
        for part in log_probabilities.chunks(len(states), self._grammars.vocabulary):
            logits = self.network.logits(states[part])
            tokens += log_probabilities.entries(self.prompts, ids, first + part.start, logits, wanted)
        for number, block in enumerate([*past, *new]):
            block.logprobs[wanted] = tuple(tokens[number * BLOCK : (number + 1) * BLOCK])
        return tuple(tokens)

    def _write(self, replies: "_Replies", hidden: Tensor) -> None:
        """Let the rows of a batch write, from the [rows, d] last hidden states of their prompts on."""
        writings = replies.open()
        rows = list(range(len(hidden)))
        ready = [number for number, writing in enumerate(writings) if not writing.finish_reason]
        while True:
            if ready:
                chosen = [writings[number] for number in ready]
                choose(chosen, self.network.logits(hidden[ready]), self._grammars)
            left = [number for number, writing in enumerate(writings) if not writing.finish_reason]
            replies.deliver_finished()
            if not left:
                return
            if len(left) < len(rows):
                self.network.select(left)
                rows, writings = left, [writings[number] for number in left]
            self._check_open()
            count = min(len(writing.pending) for writing in writings)
            hidden = self.network.go_on([writing.pending[:count] for writing in writings])
            for writing in writings:
                del writing.pending[:count]
            ready = [number for number, writing in enumerate(writings) if not writing.pending]

    def _check_open(self) -> None:
        if self._closed():
            raise Closed


@dataclass(frozen=True)
class _Run:
    """Blocks that follow each other and are computed in one row."""

    question: _Question
    """Whose tokens they are, of those that share them."""
    first: int
    hashes: list[int]

    def ids(self, blocks: int) -> list[int]:
        """The tokens of the first so many of its blocks."""
        return self.question.ids[self.first * BLOCK : (self.first + blocks) * BLOCK]


class _Replies:
    """The replies of a batch, delivered as they are finished."""

    def __init__(
        self,
        batch: Sequence[_Question],
        prompt: Sequence[tuple[TokenLogprob, ...]],
        deliver: Callable[[int, Answer], None],
    ) -> None:
        self._open = list(zip(batch, prompt, strict=True))
        self._deliver = deliver

    def open(self) -> list[Writing]:
        """Those that are not delivered."""
        return [question.writing for question, _ in self._open]

    def deliver_finished(self) -> None:
        """Deliver those that are finished."""
        for question, prompt in self._open:
            writing = question.writing
            if writing.finish_reason:
                tokens = len(question.ids)
                usage = Usage(tokens, tokens - question.computed, len(writing.written))
                logprobs = tuple(writing.logprobs)
                reply = Reply(writing.text, writing.finish_reason, usage, logprobs, prompt)
                question.answered = True
                self._deliver(question.number, Answer(reply, structured=question.structured))
        self._open = [(question, prompt) for question, prompt in self._open if not question.answered]


def _sized(items: Sequence[_Item], most: int, length: Callable[[_Item], int]) -> Iterator[list[_Item]]:
    """Consecutive items, as many as have at most so many tokens when each is as long as the longest; at least one."""
    batch: list[_Item] = []
    longest = 0
    for item in items:
        longest = max(longest, length(item))
        if batch and longest * (len(batch) + 1) > most:
            yield batch
            batch, longest = [], length(item)
        batch.append(item)
    if batch:
        yield batch


def _runs_of(items: Sequence[_Item], kind: Callable[[_Item], object]) -> Iterator[list[_Item]]:
    """Consecutive items of one kind."""
    batch: list[_Item] = []
    for item in items:
        if batch and kind(item) != kind(batch[0]):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
