"""What is asked of a reader and what comes back: plain data, the same for every endpoint and for the baseline.

Knows nothing of HTTP, of features or of scores. Explainers and scorers make requests and read replies;
a reader (`tasks/llm/openai/client.py`, `tasks/llm/baseline/reader.py`) carries the one to the other.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Literal, NamedTuple

from tasks.contexts.special_tokens import broken_up

Structured = Literal["structured_outputs", "response_format", "plain"]
"""How a server holds replies to a form: vLLM's field, OpenAI's field, or not at all."""
Form = Literal["schema", "choices", "pattern"]
"""How a request says what its reply looks like."""


QUOTE_LENGTH = 120
"""Characters of a reply that a reason quotes."""
LONGEST_LIST = 32
"""Requests in one list: each costs the server less than a call of its own does, and all fail together."""


class Message(NamedTuple):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    text: str


def _turn_broken_up(turn: Message, own: frozenset[str]) -> Message:
    """A turn with its control tokens broken up; that of the system as it is."""
    return turn if turn.role == "system" else turn._replace(text=broken_up(turn.text, own))


_shared_turn_broken_up = lru_cache(maxsize=256)(_turn_broken_up)


class TokenLogprob(NamedTuple):
    """One token as the server saw it, with natural-log probabilities."""

    token: str
    logprob: float | None
    """None for the first token of a prompt, which nothing precedes."""
    top: dict[str, float]
    """The alternatives that were asked for at this position, by token text."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a reader, with the rows that its answer is about.

    Exactly one of `messages` (chat), `prompt` (plain completion), `texts` (embedding) and `parts` is set.
    A request that needs probabilities says so here and never receives the client.

    What a tokenizer would take for a control token is broken up in all that it shows (`<| im_end|>`), whoever makes it,
    but for the system turn, which holds nothing of a corpus or a reply.
    """

    key: str
    """Unique among the requests of one task; a reply is matched by it."""
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    texts: tuple[str, ...] = ()
    """Texts to be turned into vectors."""
    parts: tuple["Request", ...] = ()
    """Questions that are asked one by one and read together, such as one per token of a context."""
    contexts: tuple[int, ...] = ()
    """Ids of the contexts asked about, in the order in which they are shown."""
    truths: tuple[bool, ...] = ()
    """What the right verdict on each context is; never part of what is sent."""
    right: int | None = None
    """Number, from 1, of the right one of the examples, where one is to be chosen; never part of what is sent."""
    together: str | None = None
    """Requests that follow each other under one name here are about one thing, and go as one list where the server
    takes lists; never part of what is sent."""
    max_tokens: int = 500
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    """Alternatives wanted at every generated token; None asks for no log-probabilities."""
    prompt_logprobs: int | None = None
    """Alternatives wanted at every prompt token (0: the prompt's own tokens only); None asks for none."""
    schema: str | None = None
    """JSON schema, as JSON, that the reply is held to where the server can do that. Log-probabilities are then those
    among what the schema allows."""
    choices: tuple[str, ...] = ()
    """Replies that are allowed, held to likewise."""
    pattern: str | None = None
    """Regular expression that the whole reply matches, held to likewise."""

    def __post_init__(self) -> None:
        """Refuse a request that asks nothing, or in two ways."""
        ways = (bool(self.messages), self.prompt is not None, bool(self.texts), bool(self.parts))
        if sum(ways) != 1:
            msg = f"request {self.key} must have either messages, a prompt, texts or parts"
            raise ValueError(msg)
        forms = (self.schema is not None, bool(self.choices), self.pattern is not None)
        if sum(forms) > 1 or (any(forms) and (self.texts or self.parts)):
            msg = f"request {self.key} may have one of schema, choices and pattern, and only for one reply"
            raise ValueError(msg)
        self._break_up(frozenset())

    def without_control_tokens(self, own: Collection[str]) -> "Request":
        """The same request without the control tokens of a reader's own tokenizer, in its parts too."""
        if not own:
            return self
        copy = replace(self, parts=tuple(part.without_control_tokens(own) for part in self.parts))
        copy._break_up(own)  # noqa: SLF001  (a new object of the same class, which nobody else has seen)
        return copy

    def _break_up(self, own: Collection[str]) -> None:
        """Break up control tokens in place; text without any stays the same object."""
        own = frozenset(own)
        # Many requests begin with the same turns, instructions and few-shots; only the last is a request's own.
        turns = [
            *(_shared_turn_broken_up(turn, own) for turn in self.messages[:-1]),
            *(_turn_broken_up(turn, own) for turn in self.messages[-1:]),
        ]
        shown: dict[str, object] = {
            "messages": tuple(turns),
            "prompt": None if self.prompt is None else broken_up(self.prompt, own),
            "texts": tuple(broken_up(text, own) for text in self.texts),
        }
        for name, value in shown.items():
            object.__setattr__(self, name, value)

    @property
    def form(self) -> Form | None:
        """What the reply is to be held to; None where to nothing."""
        if self.schema is not None:
            return "schema"
        if self.choices:
            return "choices"
        return None if self.pattern is None else "pattern"

    @property
    def held(self) -> bool:
        """Whether the reply is to be held to a form."""
        return self.form is not None

    @property
    def digest(self) -> str:
        """Hash of everything that the reader sees; 16 hexadecimal digits."""
        return self.fingerprint[:16]

    @property
    def fingerprint(self) -> str:
        """The whole of that hash; 64 hexadecimal digits."""
        seen = (
            self.messages,
            self.prompt,
            self.texts,
            tuple(part.fingerprint for part in self.parts),
            self.max_tokens,
            self.temperature,
            self.seed,
            self.stop,
            self.top_logprobs,
            self.prompt_logprobs,
            self.schema,
            self.choices,
            # Only where there is one: what was answered before there were any is kept by the hash without.
            *(() if self.pattern is None else (self.pattern,)),
        )
        return sha256(repr(seen).encode()).hexdigest()


class Usage(NamedTuple):
    """Tokens as the server counted them; None where it did not say."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Prices:
    """What a reader charges for a million tokens of each kind, in any one currency; None where nobody says."""

    prompt: float | None = None
    completion: float | None = None
    cached: float | None = None
    """For prompt tokens from the prefix cache; None where they cost as much as others."""

    @property
    def known(self) -> bool:
        """Whether requests have a price."""
        return self.prompt is not None and self.completion is not None

    def cost(self, usage: Usage) -> float | None:
        """Price of one request, embeddings among them; None without prices or without a count."""
        if self.prompt is None or self.completion is None or usage.prompt_tokens is None:
            return None
        cached = usage.cached_tokens or 0
        uncached = (usage.prompt_tokens - cached) * self.prompt
        from_cache = cached * (self.prompt if self.cached is None else self.cached)
        return (uncached + from_cache + (usage.completion_tokens or 0) * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a server finished (`finish_reason` stop or length) and that could be decoded."""

    text: str
    finish_reason: Literal["stop", "length"] = "stop"
    usage: Usage = field(default_factory=Usage)
    completion: tuple[TokenLogprob, ...] = ()
    """The generated tokens, when `top_logprobs` was asked for."""
    prompt: tuple[TokenLogprob, ...] = ()
    """The prompt's tokens, when `prompt_logprobs` was asked for."""
    vectors: tuple[tuple[float, ...], ...] = ()
    """One vector per text, when `texts` were given."""
    parts: tuple["Reply", ...] = ()
    """One reply per part, when `parts` were asked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: a reply, or the reason why there is none; and what it cost."""

    request: Request
    reply: Reply | None
    reason: str | None
    """One sentence, in the server's words where it gave any; None when there is a reply."""
    endpoint: str
    model: str
    attempts: int
    latency: float
    """Seconds from the first attempt to the end of the last, waits included."""
    structured: Structured | None = None
    """How the reply was held to a form; None where none was asked for."""
    too_long: bool = False
    """Whether it failed since it does not fit into the model's context, where a shorter one may."""
    parts_sent: int | None = None
    """Parts that were sent; None for a request without parts."""

    @property
    def calls(self) -> int:
        """What was asked for it, each part once however often it was tried; 0 where another's reply answers it."""
        return int(self.attempts > 0) if self.parts_sent is None else self.parts_sent


class Unreadable(ValueError):
    """A reply came, but it does not say what was asked; its message is the reason that is recorded."""


def quote_reply(reply: Reply) -> str:
    """The beginning of a reply, for a reason, and whether its end is missing."""
    cut = ", and it was cut off at max_tokens" if reply.finish_reason == "length" else ""
    return f"{' '.join(reply.text.split())[:QUOTE_LENGTH]!r}{cut}"


_HALF = "half"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a request is about. Its text is the request's key: replies are matched, cached and recorded by it.

    `7/0` asks for explanation 0 of feature 7. `7/0/none/3` is question 3 of a scorer about that explanation, and
    `7/0/none/3/1` part 1 of it. `7/0/none/3/half1` shows the first half of the contexts of `7/0/none/3`, and
    `7/0/half` about half of those that `7/0` shows, which nobody asks the rest of. Halves may be halved again.
    """

    feature: int
    replicate: int | str = 0
    """Number of the explanation; where a reader is tried with known answers, the name of the component that asks."""
    control: str | None = None
    """`none`, `shuffled`, or `held_out` for the choice among replicates; None for requests of explainers."""
    question: tuple[int, ...] = ()
    """Number of the question, in as many levels as the scorer counts them by."""
    part: int | None = None
    """Number of the part of a question in parts."""
    halves: tuple[int | None, ...] = ()
    """Which half is shown at each halving: 1 or 2 where both are asked, None where only one is."""

    def with_question(self, *numbers: int) -> "RequestKey":
        """Key of one question about the same explanation."""
        return replace(self, question=numbers)

    def with_part(self, number: int) -> "RequestKey":
        """Key of one part of the same question."""
        return replace(self, part=number)

    def with_half(self, number: int | None = None) -> "RequestKey":
        """Key of the same request with half of what it shows."""
        return replace(self, halves=(*self.halves, number))

    def __str__(self) -> str:
        levels = (self.feature, self.replicate, self.control, *self.question, self.part)
        text = "/".join(str(level) for level in levels if level is not None)
        for number in self.halves:
            text = half_key(text, number)
        return text

    @classmethod
    def of_explanation(cls, key: str) -> "RequestKey":
        """The feature, replicate and control in a request's key, without question, part and halves."""
        feature, replicate, *levels = key.split("/")
        control = levels[0] if levels and not levels[0].startswith(_HALF) else None
        return cls(int(feature), int(replicate) if replicate.isdecimal() else replicate, control)


def feature_of(key: str) -> int | None:
    """The feature in a request's key; None for a request about none, such as a trial of a server."""
    feature, slash, _ = key.partition("/")
    return int(feature) if slash and feature.isdecimal() else None


def half_key(key: str, number: int | None = None) -> str:
    """Key of a request that shows half of what the one with this key shows; half 1 or 2 where both are asked."""
    return f"{key}/{_HALF}{number or ''}"


def whole_key(key: str) -> str:
    """Key of the request that was halved to this one, in however many steps; the same key where none was."""
    return key.partition(f"/{_HALF}")[0]


def halved_keys(outcomes: Iterable[Outcome]) -> frozenset[str]:
    """Keys of the requests that were asked again in halves, by the outcomes of the halves."""
    keys = (outcome.request.key.rpartition(f"/{_HALF}") for outcome in outcomes)
    return frozenset(whole for whole, mark, _ in keys if mark)


def without_halved(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of requests that were not asked again in halves."""
    again = halved_keys(outcomes)
    return [outcome for outcome in outcomes if outcome.request.key not in again]
