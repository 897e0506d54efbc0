"""A request as the bytes that an OpenAI-compatible server takes, and the bytes that it answers as a reply.

Knows both routes (chat and plain completions) and vLLM's `prompt_logprobs`; knows nothing of connections.
A 200 is not yet success: bytes that are no finished answer raise `ServerFault`, worth another try, and an
answer without the log-probabilities asked for raises `FieldIgnored`, which no further try would mend.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, NamedTuple, NotRequired, cast

from pydantic import BaseModel, Field, ValidationError

# Pydantic refuses the one of the standard library before Python 3.12.
from typing_extensions import TypedDict

from tasks.llm.request import Reply, Request, TokenLogprob, Usage


class ServerFault(ValueError):
    """A server answered 200 with something that is not a finished reply."""


class FieldIgnored(ValueError):
    """A server answered as if a field of the request had not been there."""


class Call(NamedTuple):
    """What is posted to an endpoint."""

    path: str
    """Route below the endpoint's address."""
    body: bytes


def encode(request: Request, model: str) -> Call:
    """Return what to post; raises UnicodeEncodeError for text that is not valid Unicode."""
    fields: dict[str, object] = {
        "model": model,
        # Always sent: servers fill it from the model's own defaults, which seldom say 0.
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
    }
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.stop:
        fields["stop"] = list(request.stop)
    if request.prompt_logprobs is not None:
        fields["prompt_logprobs"] = request.prompt_logprobs
    if request.prompt is None:
        path = "/chat/completions"
        fields |= _chat_fields(request)
    else:
        path = "/completions"
        fields |= _completion_fields(request)
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return Call(path, text.encode())


def _chat_fields(request: Request) -> dict[str, object]:
    messages = [{"role": message.role, "content": message.text} for message in request.messages]
    if request.top_logprobs is None:
        return {"messages": messages}
    return {"messages": messages, "logprobs": True, "top_logprobs": request.top_logprobs}


def _completion_fields(request: Request) -> dict[str, object]:
    if request.top_logprobs is None:
        return {"prompt": request.prompt}
    return {"prompt": request.prompt, "logprobs": request.top_logprobs}


def decode(request: Request, body: bytes) -> Reply:
    """Read the body of a 200; raises ServerFault or FieldIgnored."""
    shape = _ChatAnswer if request.prompt is None else _CompletionAnswer
    try:
        answer = shape.model_validate_json(body)
    except ValidationError as error:
        raise ServerFault(_first_complaint(error)) from None
    choice = answer.choices[0]
    reason = choice.finish_reason
    if reason not in ("stop", "length"):
        # vLLM answers 200 with "abort" and half a text when it is told to stop.
        msg = f"the server did not finish the reply (finish_reason {reason})"
        raise ServerFault(msg)
    return Reply(
        text=choice.said,
        finish_reason=cast("Literal['stop', 'length']", reason),
        usage=_usage(answer.usage),
        completion=_completion(request, choice),
        prompt=_prompt(request, answer.prompt_tokens),
    )


def _first_complaint(error: ValidationError) -> str:
    """Say where a body departs from the API, without quoting it."""
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
    message: _Message
    finish_reason: str | None = None
    logprobs: _ChatLogprobs | None = None

    @property
    def said(self) -> str:
        """The text; reasoning models that ran out of tokens have none."""
        return self.message.content or ""


class _CompletionChoice(BaseModel):
    text: str
    finish_reason: str | None = None
    logprobs: _CompletionLogprobs | None = None
    prompt_logprobs: _Prompt | None = None

    @property
    def said(self) -> str:
        """The text."""
        return self.text


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

    @property
    def prompt_tokens(self) -> _Prompt | None:
        """The prompt's tokens: chat puts them beside the choices."""
        return self.prompt_logprobs


class _CompletionAnswer(BaseModel):
    choices: Annotated[list[_CompletionChoice], Field(min_length=1)]
    usage: _Usage | None = None

    @property
    def prompt_tokens(self) -> _Prompt | None:
        """The prompt's tokens: plain completions put them into each choice."""
        return self.choices[0].prompt_logprobs


def _usage(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage()
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    return Usage(usage.prompt_tokens, cached, usage.completion_tokens)


def _completion(request: Request, choice: _ChatChoice | _CompletionChoice) -> tuple[TokenLogprob, ...]:
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
    """Read one position; vLLM sends no text for the first one, which comes back as an empty token."""
    if not position:
        return TokenLogprob("", None, {})
    # vLLM lists the prompt's own token first, whatever its rank, then the likeliest ones.
    own = next(iter(position.values()))
    ranked = position.values() if wanted else ()
    top = _highest(
        (one.get("decoded_token") or "", one["logprob"]) for one in ranked if (one.get("rank") or 0) <= wanted
    )
    return TokenLogprob(own.get("decoded_token") or "", own["logprob"], top)


def _chat_token(token: _ChatToken, wanted: int) -> TokenLogprob:
    alternatives = (token.get("top_logprobs") or ()) if wanted else ()
    top = _highest((one["token"], one["logprob"]) for one in alternatives)
    return TokenLogprob(token["token"], token["logprob"], top)


def _highest(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return log-probabilities by text; of token ids that share a text the likeliest stands."""
    found: dict[str, float] = {}
    for token, logprob in pairs:
        found[token] = max(logprob, found.get(token, logprob))
    return found


def own_words(body: bytes) -> str:
    """Return what a server says in an error's body, on one line: its message, or all of the body."""
    text = body.decode(errors="replace")
    try:
        said = _message(json.loads(text))
    except (ValueError, RecursionError):
        said = None
    return " ".join((said or text).split())


def _message(value: object) -> str | None:
    """Find the message in the shapes that servers and proxies give their errors."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        for name in ("error", "message", "detail"):
            if name in fields and (found := _message(fields[name])):
                return found
    return None
