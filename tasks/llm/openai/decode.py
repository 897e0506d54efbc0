"""Decodes the bytes of an OpenAI-compatible server's response into replies, and the message of an error response.

Covers chat, plain completions and embeddings, and vLLM's `prompt_logprobs`; connections are not handled here.
A 200 is not yet success: a body without a finished reply raises `ServerFault`, which is worth a retry, and one without
the requested log-probabilities raises `FieldIgnored`, which a retry would not change. A reply that the server stopped
for a reason of its own (a content filter) is `DeclinedReply`: paid for, but not usable.
"""

import json
from base64 import b64decode
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Literal, NamedTuple, NotRequired, TypeVar, cast

import numpy as np
from pydantic import BaseModel, Field, ValidationError

# Pydantic refuses the one of the standard library before Python 3.12.
from typing_extensions import TypedDict

from tasks.llm.request import Reply, Request, TokenLogprob, Usage

_Shape = TypeVar("_Shape", bound=BaseModel)

_OF_A_FORM = ("response_format", "structured", "schema", "grammar", "guided", "regex")


_FINISHED: dict[str, Literal["stop", "length"]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_length": "length",
}
"""Finish reasons of complete replies: OpenAI's two, and those of TGI and other APIs."""
_INTERRUPTED = frozenset({"abort", "aborted", "cancelled", "canceled", "error"})
"""Finish reasons of incomplete replies that a retry may complete."""


class ServerFault(ValueError):
    """A server answered 200 with something that is not a finished reply."""


class FieldIgnored(ValueError):
    """A server ignored a field of the request."""


class DeclinedReply(NamedTuple):
    """A reply that the server stopped for a reason of its own, such as a content filter.

    A retry would cost the same again and most likely end the same way.
    """

    reason: str


def decode(requests: Sequence[Request], body: bytes) -> "list[Reply | DeclinedReply]":
    """Read the body of a 200, a reply per request; raises ServerFault or FieldIgnored."""
    first = requests[0]
    if first.texts:
        return [_vectors(first, _read(_EmbeddingAnswer, body))]
    answer = _read(_ChatAnswer if first.prompt is None else _CompletionAnswer, body)
    choices = _in_order(answer.choices, len(requests))
    usages = _shared(_usage(answer.usage), [_length(request) for request in requests])
    return [
        _reply(request, answer, choice, usage)
        for request, choice, usage in zip(requests, choices, usages, strict=True)
    ]


def _read(shape: type[_Shape], body: bytes) -> _Shape:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise ServerFault(_first_complaint(error)) from None


def _in_order(choices: "Sequence[_AnyChoice]", wanted: int) -> "list[_AnyChoice]":
    """Return the choices as the requests were given. Raises FieldIgnored for a server that takes one only."""
    if wanted == 1:
        return [choices[0]]
    ordered = sorted(choices, key=lambda choice: choice.index)
    if [choice.index for choice in ordered] != list(range(wanted)):
        msg = f"the server ignored that {wanted} requests were given, as it answered {len(choices)}"
        raise FieldIgnored(msg)
    return ordered


def _reply(
    request: Request, answer: "_ChatAnswer | _CompletionAnswer", choice: "_AnyChoice", usage: Usage
) -> Reply | DeclinedReply:
    reason = choice.finish_reason
    if reason is None or reason.casefold() in _INTERRUPTED:
        # vLLM answers 200 with "abort" and half a text when it is told to stop.
        msg = f"the server did not finish the reply (finish_reason {reason})"
        raise ServerFault(msg)
    finished = _FINISHED.get(reason.casefold())
    if finished is None:
        return DeclinedReply(
            f"the server ended the reply with finish_reason {reason}, which leaves none to use"
        )
    return Reply(
        text=choice.reply_text,
        finish_reason=finished,
        usage=usage,
        completion=_completion(request, choice),
        prompt=_prompt(request, answer.prompt_tokens(choice)),
    )


def _length(request: Request) -> int:
    """Characters of a request's prompt or messages."""
    return len(request.prompt or "") + sum(len(message.text) for message in request.messages)


def _shared(usage: Usage, lengths: Sequence[int]) -> list[Usage]:
    """Return each request's share of what the server counted for all of them, by its length; the sum is kept.

    How many tokens of a list were cached is unknown: vLLM reports it for a list's last prompt only, and not for chats.
    """
    if len(lengths) == 1:
        return [usage]
    ends = [end / max(1, sum(lengths)) for end in accumulate(lengths, initial=0)]

    def shares(total: int | None) -> Sequence[int | None]:
        if total is None:
            return [None] * len(lengths)
        return [round(total * end) - round(total * begin) for begin, end in pairwise(ends)]

    counts = zip(shares(usage.prompt_tokens), shares(usage.completion_tokens), strict=True)
    return [Usage(prompt, None, completion) for prompt, completion in counts]


def _vectors(request: Request, answer: "_EmbeddingAnswer") -> Reply:
    """Return one vector per text; raises ServerFault if the response does not hold exactly these."""
    embeddings = sorted(answer.data, key=lambda embedding: embedding.index)
    vectors = [embedding.vector for embedding in embeddings]
    if [embedding.index for embedding in embeddings] != list(range(len(request.texts))):
        msg = f"{len(embeddings)} vectors for {len(request.texts)} texts"
        raise ServerFault(msg)
    if len({len(vector) for vector in vectors}) > 1 or not all(
        np.isfinite(vector).all() for vector in vectors
    ):
        msg = "its vectors differ in length or are not finite"
        raise ServerFault(msg)
    return Reply(
        text="", usage=_usage(answer.usage), vectors=tuple(tuple(vector.tolist()) for vector in vectors)
    )


def _first_complaint(error: ValidationError) -> str:
    """Return where a body violates the API's schema, without quoting it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


# Dictionaries where there is one per token: as models they take three times as long.


class _Alternative(TypedDict):
    token: str
    logprob: float


class _ChatToken(TypedDict):
    token: str
    logprob: float
    top_logprobs: NotRequired[list[_Alternative] | None]


class _PromptToken(TypedDict):
    logprob: float
    rank: NotRequired[int | None]
    decoded_token: NotRequired[str | None]


_Prompt = list[dict[str, _PromptToken] | None]


class _ChatLogprobs(BaseModel):
    content: list[_ChatToken] | None = None

    def read(self, wanted: int) -> list[TokenLogprob]:
        """Return the generated tokens, each with its alternatives if any are wanted."""
        return [_chat_token(token, wanted) for token in self.content or ()]


class _CompletionLogprobs(BaseModel):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None

    def read(self, wanted: int) -> list[TokenLogprob]:
        """Return the generated tokens, each with its alternatives if any are wanted."""
        tops: Sequence[dict[str, float] | None] = self.top_logprobs or [None] * len(self.tokens)
        try:
            rows = list(zip(self.tokens, self.token_logprobs, tops, strict=True))
        except ValueError:
            msg = "choices.0.logprobs: its lists differ in length"
            raise ServerFault(msg) from None
        return [TokenLogprob(token, logprob, (top or {}) if wanted else {}) for token, logprob, top in rows]


class _Message(BaseModel):
    content: str | None = None


class _ChatChoice(BaseModel):
    index: int = 0
    message: _Message
    finish_reason: str | None = None
    logprobs: _ChatLogprobs | None = None

    @property
    def reply_text(self) -> str:
        """The text; empty for reasoning models that ran out of tokens."""
        return self.message.content or ""


class _CompletionChoice(BaseModel):
    index: int = 0
    text: str
    finish_reason: str | None = None
    logprobs: _CompletionLogprobs | None = None
    prompt_logprobs: _Prompt | None = None

    @property
    def reply_text(self) -> str:
        """The text."""
        return self.text


_AnyChoice = _ChatChoice | _CompletionChoice


class _CacheDetails(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _CacheDetails | None = None


class _ChatAnswer(BaseModel):
    choices: Annotated[list[_ChatChoice], Field(min_length=1)]
    usage: _Usage | None = None
    prompt_logprobs: _Prompt | None = None

    def prompt_tokens(self, _choice: _AnyChoice) -> _Prompt | None:
        """The prompt's tokens: chat puts them beside the choices."""
        return self.prompt_logprobs


class _CompletionAnswer(BaseModel):
    choices: Annotated[list[_CompletionChoice], Field(min_length=1)]
    usage: _Usage | None = None

    def prompt_tokens(self, choice: _AnyChoice) -> _Prompt | None:
        """A prompt's tokens: plain completions put them into its choice."""
        return choice.prompt_logprobs if isinstance(choice, _CompletionChoice) else None


class _Embedded(BaseModel):
    index: int
    embedding: str | list[float]

    @property
    def vector(self) -> np.ndarray:
        """The vector, 32-bit floats where it came as bytes; raises ServerFault when it did not come whole."""
        if isinstance(self.embedding, list):
            return np.array(self.embedding)
        try:
            return np.frombuffer(b64decode(self.embedding, validate=True), "<f4")
        except ValueError:
            msg = "data.embedding is neither numbers nor 32-bit floats in base64"
            raise ServerFault(msg) from None


class _EmbeddingAnswer(BaseModel):
    data: list[_Embedded]
    usage: _Usage | None = None


def _usage(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage()
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    return Usage(usage.prompt_tokens, cached, usage.completion_tokens)


def _completion(request: Request, choice: _AnyChoice) -> tuple[TokenLogprob, ...]:
    """Return the generated tokens if they were asked for; raises FieldIgnored if they are missing."""
    wanted = request.top_logprobs
    if wanted is None:
        return ()
    tokens = choice.logprobs.read(wanted) if choice.logprobs else []
    if not tokens or (wanted and not any(token.top for token in tokens)):
        msg = "the server ignored that log-probabilities of the reply were asked for"
        raise FieldIgnored(msg)
    return tuple(tokens)


def _prompt(request: Request, positions: _Prompt | None) -> tuple[TokenLogprob, ...]:
    """Return the prompt's tokens if they were asked for; raises FieldIgnored if they are missing."""
    wanted = request.prompt_logprobs
    if wanted is None:
        return ()
    if not positions:
        msg = "the server ignored that log-probabilities of the prompt were asked for"
        raise FieldIgnored(msg)
    return tuple(_prompt_token(position, wanted) for position in positions)


def _prompt_token(position: dict[str, _PromptToken] | None, wanted: int) -> TokenLogprob:
    """Decode one position; vLLM sends no text for the first, which becomes an empty token."""
    if not position:
        return TokenLogprob("", None, {})
    # vLLM lists the prompt's own token first, whatever its rank, then the likeliest ones.
    own = next(iter(position.values()))
    ranked = position.values() if wanted else ()
    top = _highest(
        (alternative.get("decoded_token") or "", alternative["logprob"])
        for alternative in ranked
        if (alternative.get("rank") or 0) <= wanted
    )
    return TokenLogprob(own.get("decoded_token") or "", own["logprob"], top)


def _chat_token(token: _ChatToken, wanted: int) -> TokenLogprob:
    alternatives = (token.get("top_logprobs") or ()) if wanted else ()
    top = _highest((alternative["token"], alternative["logprob"]) for alternative in alternatives)
    return TokenLogprob(token["token"], token["logprob"], top)


def _highest(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return log-probabilities by text; the highest if several token ids share a text."""
    highest: dict[str, float] = {}
    for token, logprob in pairs:
        highest[token] = max(logprob, highest.get(token, logprob))
    return highest


def too_long(body: bytes) -> bool:
    """Whether an error's body says that the prompt does not fit into the model's context."""
    # vLLM names the parameter, OpenAI sends a code; others only send a message.
    text = body.decode(errors="replace")
    return any(
        sign in text for sign in ('"input_tokens"', "context_length_exceeded", "maximum context length")
    )


def of_a_form(body: bytes) -> bool:
    """Whether an error's body mentions structured output; it may do so for other reasons too."""
    text = body.decode(errors="replace").casefold()
    return any(sign in text for sign in _OF_A_FORM)


def of_an_api(body: bytes) -> bool:
    """Whether an error's body is the API's own, a JSON object, and not a proxy's page."""
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def own_words(body: bytes) -> str:
    """Return the message in an error's body, or else the whole body, on one line."""
    text = body.decode(errors="replace")
    try:
        message = _message(json.loads(text))
    except (ValueError, RecursionError):
        message = None
    return " ".join((message or text).split())


def _message(value: object) -> str | None:
    """Find the message in the shapes that servers and proxies give their errors."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        for name in ("error", "message", "detail"):
            if name in fields and (message := _message(fields[name])):
                return message
    return None
