"""Simulation (Bills et al. 2023; paper 3.3): given an explanation, how strong is the feature on each token?

Simulated activation of a token: the mean of the numbers 0 to 10 under the probabilities that a reader gives them,
E = sum of k p(k) / sum of p(k). Log-probabilities come for the likeliest tokens only; numbers that are not among them
count as impossible, and the probabilities of the others are scaled up to 1. A token for which there is no number at all
is left out and counted (`missing`); where that is more than half of a context's tokens, the context fails. Score:
Pearson's correlation of simulated and true activations, pooled over all tokens of all contexts, silent ones too.
Measures whether the explanation says where and how strongly the feature fires. Chance level: 0.

`all_at_once` asks once per context: a model reads a table whose numbers are unknown, and the log-probabilities of the
prompt after each tab are read (vLLM's completions). `token_by_token` asks once per token, with the text so far, and
needs no log-probabilities of prompts; on the completions route it reads the same numbers as `all_at_once`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from tasks.contexts.context import Context, Feature
from tasks.contexts.context import context as written_context
from tasks.contexts.special_tokens import NOTE, SIGN, broken_up
from tasks.contexts.visible import plain
from tasks.fields import ComponentName
from tasks.llm import prompt, reasoning
from tasks.llm.request import Message, Reply, Request, RequestKey, TokenLogprob, Unreadable
from tasks.scorers.base import Judgement
from tasks.scorers.logprobs import skeleton, tokens_from
from tasks.scorers.numeric import Numeric, answers

TAB = "\t"
UNKNOWN = "?"
"""Stands for a number that is not known; a word in its place would be joined with the tab by some tokenizers."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LEAST = 0.5
"""Share of a context's tokens that must have a number, since the correlation of a smaller part is another quantity."""
TEN = 10
_MOST_CHAT_TOKENS = 5
"""Longest reply of a chat, in tokens: a number, and what some models put before it."""


class Simulation(Numeric, frozen=True):
    """How strong is the feature on each token?"""

    kind: Literal["simulation"]
    name: ComponentName = "simulation"
    """What the tables call it; two scorers of one kind need two names."""
    mode: Literal["all_at_once", "token_by_token"] = "all_at_once"
    """One question per context, for servers that give log-probabilities of prompts; or one per token, for others."""
    route: Literal["chat", "completion"] = "chat"
    """How `token_by_token` asks; `all_at_once` always asks for a completion."""
    alternatives: int | None = Field(default=20, ge=2)
    """Likeliest tokens whose log-probabilities are asked for; servers have a limit (vLLM: 20). Null, in
    `token_by_token` only, asks for none and takes the number that is stated."""
    highest: int = Field(default=10, ge=1, le=10)
    """The strongest activation. Readers whose tokenizer takes 10 apart are refused at 10, which would be read as 1: set
    9 for those (SmolLM2, Qwen and Gemma among others)."""

    @model_validator(mode="after")
    def _readable(self) -> "Simulation":
        if self.mode == "all_at_once" and self.alternatives is None:
            msg = "alternatives is null, and all_at_once reads nothing else; give a number, such as 20"
            raise ValueError(msg)
        return self

    @property
    def chance(self) -> float:
        """No correlation."""
        return 0.0

    @property
    def needs_negatives(self) -> bool:
        """Activations differ from token to token, in activating contexts too."""
        return False

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """One question per context; token by token, of one part per token."""
        return [
            self._question(key.with_question(number), explanation, context)
            for number, context in enumerate(self.judged(feature.contexts, feature.feature))
        ]

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """The simulated activations, null for tokens without a number.

        Raises `Unreadable` when more than half of them have none, and when the reader cannot say 10 in one token.
        """
        if request.parts:
            strengths = [self._strength_in_reply(part, answer) for part, answer in answers(request, reply)]
        else:
            if self.highest == TEN and takes_ten_apart(reply.prompt, TAB):
                raise Unreadable(_apart(request.key))
            tops = _alternatives_after_tabs(request, reply, len(self._head()))
            strengths = [expected(top, self.highest, request.key) for top in tops]
        simulated = tuple(strength if isinstance(strength, float) else None for strength in strengths)
        reasons = [strength for strength in strengths if isinstance(strength, str)]
        if len(reasons) > (1 - _LEAST) * len(strengths):
            msg = f"{len(reasons)} of {len(strengths)} tokens have no number; the first: {reasons[0]}"
            raise Unreadable(msg)
        ((context, truth),) = zip(request.contexts, request.truths, strict=True)
        return [Judgement(context, truth, simulated=simulated, missing=len(reasons))]

    def trials(self, key: RequestKey) -> list[Request]:
        """Requests sent before the first question; their tokens show whether the tokenizer has 10 as one token."""
        if self.mode == "all_at_once" or self.highest < TEN or self.alternatives is None:
            return []  # the tables of a prompt show it, and without log-probabilities nothing depends on it
        if self.route == "completion":
            table = f"{TAB}{TEN}\n".join(f"{letter}" for letter in "abcdefghij") + TAB
            return [Request(str(key), prompt=table, max_tokens=2, top_logprobs=self.alternatives)]
        turn = Message("user", f"Answer with the number {TEN} and nothing else.")
        return [
            Request(str(key), messages=(turn,), max_tokens=_MOST_CHAT_TOKENS, top_logprobs=self.alternatives)
        ]

    def unfit(self, request: Request, reply: Reply) -> str | None:
        """Why a reader with this answer to an example or a trial is refused; None where it can be asked."""
        if self.highest < TEN or self.alternatives is None:
            return None
        apart = takes_ten_apart(reply.prompt, TAB) or takes_ten_apart(reply.completion)
        return _apart(request.key) if apart else None

    def _question(self, key: RequestKey, explanation: str, context: Context) -> Request:
        about = {"contexts": (context.context,), "truths": (context.activating,)}
        lines = [f"{plain(string)}{TAB}" for string in context.strings]
        if self.mode == "all_at_once":
            table = _table(explanation, (line + UNKNOWN for line in lines))
            text = self._head() + table
            return Request(str(key), prompt=text, max_tokens=1, prompt_logprobs=self.alternatives, **about)
        parts = []
        for place in range(len(lines)):
            before = [line + UNKNOWN for line in lines[:place]]
            parts.append(self._part(str(key.with_part(place)), explanation, before, lines[place]))
        return Request(str(key), parts=tuple(parts), **about)

    def _part(self, key: str, explanation: str, before: list[str], line: str) -> Request:
        """The question about one token."""
        if self.route == "completion":
            text = self._head() + _table(explanation, [*before, line])
            return Request(key, prompt=text, max_tokens=1, top_logprobs=self.alternatives)
        turn = Message("user", _table(explanation, [*before, line + UNKNOWN]))
        turns = (Message("system", self._introduction()), *_turns(self.highest), turn)
        return Request(key, messages=turns, max_tokens=_MOST_CHAT_TOKENS, top_logprobs=self.alternatives)

    def _strength_in_reply(self, part: Request, reply: Reply) -> float | str:
        """The number in the answer about one token, or the reason why there is none."""
        if self.highest == TEN and self.alternatives is not None and takes_ten_apart(reply.completion):
            raise Unreadable(_apart(part.key))
        if self.route == "completion" and self.alternatives is not None:
            return expected(reply.completion[0].top if reply.completion else {}, self.highest, part.key)
        try:
            answer = reasoning.answer(reply, part.key)
        except Unreadable as error:
            return str(error)
        if self.alternatives is None:
            return self._number(answer, part.key)
        after = reasoning.tokens(reply)
        numbers = (token for token in after if _integer(token.token, self.highest) is not None)
        first = next(numbers, TokenLogprob("", None, {}))
        return expected(first.top, self.highest, part.key)

    def _number(self, text: str, key: str) -> float | str:
        number = _NUMBER.search(text)
        if number is None or float(number[0]) > self.highest:
            return (
                f"no number from 0 to {self.highest} in the reply to {key} ({' '.join(text.split())[:80]!r})"
            )
        return float(number[0])

    def _introduction(self) -> str:
        template = prompt.read_prompt("tasks.scorers", "simulation.prompt.txt", self.prompt)
        return template.replace("{highest}", str(self.highest))

    def _head(self) -> str:
        return broken_up(f"{self._introduction()}\n\n{_tables(self.highest)}")


def expected(top: Mapping[str, float], highest: int, key: str) -> float | str:
    """The mean of the numbers 0 to `highest` among alternatives with these log-probabilities, scaled up to 1.

    Where there is none, a sentence that says so.
    """
    numbers = [(_integer(token, highest), logprob) for token, logprob in top.items()]
    weighted = [(number, logprob) for number, logprob in numbers if number is not None]
    if not weighted:
        return f"no number from 0 to {highest} among the likeliest tokens in the reply to {key}"
    # Against the likeliest, since all of them together can be too unlikely for a float.
    likeliest = max(logprob for _, logprob in weighted)
    weights = [(number, math.exp(logprob - likeliest)) for number, logprob in weighted]
    return sum(number * weight for number, weight in weights) / sum(weight for _, weight in weights)


def takes_ten_apart(tokens: Sequence[TokenLogprob], before: str = "") -> bool:
    """Whether 10 is spelled by two of these tokens, so that the probability of 1 includes that of 10.

    Only where the token before it ends with `before`, and with no digit.
    """
    texts = [token.token for token in tokens]
    return any(
        (first.strip(), zero.strip()) == ("1", "0") and last.endswith(before) and not last[-1:].isdigit()
        for last, first, zero in zip(["", *texts], texts, texts[1:], strict=False)
    )


def _apart(key: str) -> str:
    return (
        f"the model's tokenizer takes {TEN} apart, so that it would be read as 1 (seen in the reply to {key}); set"
        " highest: 9 for this scorer"
    )


def _integer(token: str, highest: int) -> int | None:
    """The number that a token spells, if it is one of those that were asked for."""
    text = token.strip()
    return int(text) if re.fullmatch("[0-9]|10", text) and int(text) <= highest else None


def _alternatives_after_tabs(request: Request, reply: Reply, head: int) -> list[dict[str, float]]:
    """The alternatives after each tab of the table at the end of a prompt; `head` is how long what precedes it is."""
    asked = request.prompt or ""
    start = asked.index("\n", head) + 1
    tokens = tokens_from(asked, start, reply.prompt)
    tops = []
    for before, after in pairwise(tokens):
        piece = skeleton(before.token)
        if TAB in piece[:-1]:
            msg = (
                f"the model's tokenizer joins a tab with what follows ({before.token!r}); ask token_by_token"
            )
            raise Unreadable(msg)
        if piece.endswith(TAB):
            tops.append(after.top)
    if len(tops) != asked.count(TAB, start):
        msg = f"{len(tops)} of {asked.count(TAB, start)} tabs among the tokens of the prompt of {request.key}"
        raise Unreadable(msg)
    return tops


def _table(description: str, lines: Iterable[str]) -> str:
    """Lines below a description, on whose line the sign for special tokens is explained where one has it."""
    tokens = "\n".join(lines)
    note = f" ({NOTE})" if SIGN in tokens else ""
    return f"Description: {' '.join(description.split())}{note}" + (f"\n{tokens}" if tokens else "")


class _Shot(NamedTuple):
    """A table with its numbers."""

    description: str
    lines: list[str]
    """Each token and the tab after it."""
    numbers: list[str]
    known_from: int
    """First line of a completion's table that has numbers."""
    asked: list[int]
    """The lines of the table that a chat asks about."""


@cache
def _shots(highest: int) -> list[_Shot]:
    shots = []
    for shot in prompt.read_shots("tasks.scorers", "simulation.shots.yaml"):
        shown = written_context(shot["context"])
        lines = [f"{plain(string)}{TAB}" for string in shown.strings]
        numbers = [str(round(activation * highest / 10)) for activation in shown.activations]
        shots.append(_Shot(shot["description"], lines, numbers, shot["known_from"], shot["asked"]))
    return shots


@cache
def _tables(highest: int) -> str:
    """The few-shot tables of a completion; the first lines of each have no numbers, as in the live one."""
    tables = ""
    for shot in _shots(highest):
        numbers = [UNKNOWN] * shot.known_from + shot.numbers[shot.known_from :]
        rows = zip(shot.lines, numbers, strict=True)
        tables += _table(shot.description, (line + number for line, number in rows)) + "\n\n"
    return tables


@cache
def _turns(highest: int) -> list[Message]:
    """The few-shot turns of a chat."""
    turns = []
    for shot in _shots(highest):
        for place in shot.asked:
            table = _table(shot.description, (line + UNKNOWN for line in shot.lines[: place + 1]))
            turns += [Message("user", table), Message("assistant", shot.numbers[place])]
    return turns
