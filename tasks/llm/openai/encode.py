"""Encodes requests as the bytes that an OpenAI-compatible server takes.

Covers the routes of chat, plain completions and embeddings, vLLM's own route for several chats in one call, and vLLM's
`prompt_logprobs`; connections are not handled here. `tasks/llm/openai/decode.py` reads the responses.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from tasks.llm.openai.parameters import Parameters
from tasks.llm.request import LONGEST_LIST, Message, Request, Structured

PROMPTS, CHATS = "/completions", "/chat/completions/batch"
"""The routes that take several requests in one call. That of chats is vLLM's own, and knows no `prompt_logprobs`."""


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_ANSWER = 4 << 20
"""Bytes allowed for any response, for the JSON around the replies and for rare tokens that are very long."""
_TOKEN, _ALTERNATIVE, _RANKED, _VECTOR = 128, 512, 128, 1 << 19
"""Most bytes per generated token, per alternative to it, per alternative at a byte of the prompt, and per embedding:
several times the size that servers send."""


class Call(NamedTuple):
    """What is posted to an endpoint."""

    path: str
    """Route below the endpoint's address."""
    body: bytes
    limit: int = _ANSWER
    """Most bytes of a valid response."""
    settings: frozenset[str] = frozenset()
    """Names of the settings sent with the prompt, which a server may reject."""


def list_route(request: Request) -> str | None:
    """Return the route on which a request may be sent in a list; None if there is none."""
    if request.prompt is not None:
        return PROMPTS
    return CHATS if request.messages and request.prompt_logprobs is None else None


def alike(
    requests: Sequence[Request], routes: Collection[str] = (PROMPTS, CHATS), longest: int = LONGEST_LIST
) -> list[tuple[int, ...]]:
    """Return the indices of requests that fit one call: equal settings, on one of the routes, at most `longest`."""
    lists = defaultdict[object, list[int]](list)
    for place, request in enumerate(requests):
        route = list_route(request)
        lists[(route, _settings(request)) if route in routes else place].append(place)
    return [
        tuple(places[first : first + longest])
        for places in lists.values()
        for first in range(0, len(places), longest)
    ]


def _settings(request: Request) -> tuple[object, ...]:
    return (
        request.max_tokens,
        request.temperature,
        request.seed,
        request.stop,
        request.top_logprobs,
        request.prompt_logprobs,
        request.schema,
        request.choices,
        request.pattern,
    )


def encode(
    requests: Sequence[Request],
    model: str,
    structured: Structured = "plain",
    parameters: Parameters = Parameters(),  # noqa: B008  (it is immutable)
) -> Call:
    """Return what to post: one request, or several that are `alike`, held to their form in the server's way.

    `parameters` says which settings the server takes. Raises UnicodeEncodeError for text that is not valid Unicode.
    """
    first = requests[0]
    if first.texts:
        path = "/embeddings"
        fields = _taken({"encoding_format": "base64"}, parameters)
        text = _json({"model": model, "input": first.texts} | fields)
    elif first.prompt is None:
        path = "/chat/completions" if len(requests) == 1 else CHATS
        fields = _common_fields(first, parameters) | _held_fields(first, structured) | _chat_fields(first)
        text = f'{_json({"model": model} | fields)[:-1]},"messages":{_conversations(requests)}}}'
    else:
        path = PROMPTS
        fields = _common_fields(first, parameters) | _held_fields(first, structured)
        text = _json({"model": model} | fields | _completion_fields(requests))
    limit = _ANSWER + sum(_longest(request) for request in requests)
    return Call(path, text.encode(), limit, frozenset(fields))


def _longest(request: Request) -> int:
    """Most bytes that a valid response has for a request."""
    alternatives = 0 if request.top_logprobs is None else _ALTERNATIVE * (request.top_logprobs + 1)
    generated = request.max_tokens * (_TOKEN + alternatives)
    if request.prompt_logprobs is None:
        return generated + _VECTOR * len(request.texts)
    prompt = len((request.prompt or "").encode()) + sum(len(turn.text.encode()) for turn in request.messages)
    return generated + prompt * _RANKED * (request.prompt_logprobs + 2)


def _conversations(requests: Sequence[Request]) -> str:
    """The turns of one chat, or a list of those of several."""
    if len(requests) == 1:
        return _messages(requests[0])
    return f"[{','.join(map(_messages, requests))}]"


def _messages(request: Request) -> str:
    *before, last = request.messages
    return f"[{','.join([*map(_turn_of_many, before), _turn(last)])}]"


def _turn(message: Message) -> str:
    return _json({"role": message.role, "content": message.text})


@lru_cache(maxsize=256)
def _turn_of_many(message: Message) -> str:
    """A turn shared by many requests, such as instructions or few-shots."""
    return _turn(message)


def _taken(fields: dict[str, object], parameters: Parameters) -> dict[str, object]:
    """Fields without those that the server refuses."""
    return {name: value for name, value in fields.items() if name not in parameters.omit}


def _common_fields(request: Request, parameters: Parameters) -> dict[str, object]:
    # The temperature is sent wherever it is taken: servers fill it from the model's own defaults, which seldom say 0.
    fields: dict[str, object] = {
        "temperature": request.temperature,
        parameters.max_tokens_key: request.max_tokens,
    }
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.stop:
        fields["stop"] = list(request.stop)
    if request.prompt_logprobs is not None:
        fields["prompt_logprobs"] = request.prompt_logprobs
    return _taken(fields, parameters)


def _held_fields(request: Request, structured: Structured) -> dict[str, object]:
    schema = None if request.schema is None else json.loads(request.schema)
    match structured:
        case "structured_outputs" if request.choices:
            return {"structured_outputs": {"choice": list(request.choices)}}
        case "structured_outputs" if request.pattern is not None:
            return {"structured_outputs": {"regex": request.pattern}}
        case "structured_outputs" if schema is not None:
            return {"structured_outputs": {"json": schema}}
        # OpenAI refuses schemas of anything but objects.
        case "response_format" if schema is not None and schema.get("type") == "object":
            named = {"name": "reply", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case _:
            # OpenAI's field has no choices and no patterns: a schema for them would put the reply in quotes.
            return {}


def held(request: Request, structured: Structured) -> Structured | None:
    """Return how a server with the given way holds a request to its form; None if the request asks for none."""
    if not request.held:
        return None
    return structured if _held_fields(request, structured) else "plain"


def _chat_fields(request: Request) -> dict[str, object]:
    if request.top_logprobs is None:
        return {}
    return {"logprobs": True, "top_logprobs": request.top_logprobs}


def _completion_fields(requests: Sequence[Request]) -> dict[str, object]:
    prompts = [request.prompt for request in requests]
    prompt = prompts[0] if len(prompts) == 1 else prompts
    if requests[0].top_logprobs is None:
        return {"prompt": prompt}
    return {"prompt": prompt, "logprobs": requests[0].top_logprobs}
