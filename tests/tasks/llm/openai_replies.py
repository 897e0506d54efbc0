"""Right answers of an OpenAI-compatible server, as JSON and as bytes of HTTP."""

import json
import re
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

Body = dict[str, Any]


def with_choice(whole: Body, **changes: object) -> Body:
    """Return an answer with its one choice changed."""
    return whole | {"choices": [whole["choices"][0] | changes]}


def response(status: int, value: object, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of an HTTP response that holds JSON."""
    return raw_response(status, json.dumps(value).encode(), headers)


def raw_response(status: int, content: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of an HTTP response."""
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def answered(body: Body, say: Callable[[Body], str]) -> Body:
    """Return vLLM's answer to a request of any route; `say` is asked about each prompt or chat of a list."""
    if "input" in body:
        return embedded(body)
    singles = members(body)
    if not singles:
        return completion(body, say(body))
    wholes = [completion(single, say(single)) for single in singles]
    choices = [with_choice(whole, index=place)["choices"][0] for place, whole in enumerate(wholes)]
    counted = {
        name: sum(whole["usage"][name] for whole in wholes) for name in ("prompt_tokens", "completion_tokens")
    }
    if "prompt" in body:
        # vLLM tells what was cached of the last prompt, and of chats nothing.
        counted["prompt_tokens_details"] = wholes[-1]["usage"]["prompt_tokens_details"]
    return wholes[0] | {"choices": choices[::-1], "usage": counted}


def members(body: Body) -> list[Body]:
    """Return what a request asks that asks for several at once, each as if it were asked alone; else nothing."""
    if isinstance(body.get("prompt"), list):
        return [body | {"prompt": prompt} for prompt in body["prompt"]]
    if "messages" in body and isinstance(body["messages"][0], list):
        return [body | {"messages": chat} for chat in body["messages"]]
    return []


def held(body: Body, field: str | None) -> str | None:
    """Return the first reply that a request's form allows, if the server knows the field; null without a form."""
    form = body.get(field) if field else None
    if not form:
        return None
    if "choice" in form:
        return form["choice"][0]
    if "regex" in form:
        lists = (json.dumps([0] * count) for count in range(100))
        return next(text for text in lists if re.fullmatch(form["regex"], text))
    schema = form["json"] if "json" in form else form["json_schema"]["schema"]
    return json.dumps(_least(schema, schema.get("$defs", {})))


def _least(schema: Body, named: Body) -> object:
    """Return the first value that a schema allows, some of whose parts may be named elsewhere."""
    match schema:
        case {"$ref": path}:
            return _least(named[path.rsplit("/", 1)[-1]], named)
        case {"anyOf": [first, *_]}:
            return _least(first, named)
        case {"enum": [first, *_]}:
            return first
        case {"properties": properties}:
            return {name: _least(item, named) for name, item in properties.items()}
        case {"items": items, "minItems": count}:
            return [_least(items, named)] * count
        case _:
            return schema.get("minimum", "words")


def embedded(body: Body) -> Body:
    """Return vectors that tell texts apart: their length, and the length of their first word."""
    vectors = [(float(len(text)), len(text.split(" ")[0]) / 4) for text in body["input"]]
    data = [{"index": place, "embedding": list(vector)} for place, vector in enumerate(vectors)]
    if body.get("encoding_format") == "base64":
        for item, vector in zip(data, vectors, strict=True):
            item["embedding"] = b64encode(struct.pack("<2f", *vector)).decode()
    return {"object": "list", "data": data[::-1], "usage": {"prompt_tokens": 3 * len(data)}}


def completion(body: Body, text: str) -> Body:
    """Return vLLM's answer to a request, in the shape that it asked for, saying the text."""
    prompt = body.get("prompt") or "\n".join(turn["content"] for turn in body["messages"])
    choice: Body = {"index": 0, "finish_reason": "stop"}
    answer: Body = {"id": "1", "model": body["model"], "choices": [choice]}
    if "messages" in body:
        choice["message"] = {"role": "assistant", "content": text}
        choice["logprobs"] = _chat_logprobs(text, body) if body.get("logprobs") else None
        answer["prompt_logprobs"] = _prompt_logprobs(prompt, body)
    else:
        choice["text"] = text
        choice["logprobs"] = _logprobs(text, body) if "logprobs" in body else None
        choice["prompt_logprobs"] = _prompt_logprobs(prompt, body)
    answer["usage"] = {
        "prompt_tokens": len(tokens(prompt)),
        "completion_tokens": len(tokens(text)),
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    return answer


def tokens(text: str) -> list[str]:
    """Cut a text as a simple tokenizer would: words and signs, each with the space before it."""
    return re.findall(r"\s*(?:\w+|[^\w\s])|\s+$", text)


def _alternatives(token: str, count: int) -> list[tuple[str, float]]:
    return [(token, -0.1), *((f"other{rank}", -1.0 - rank) for rank in range(1, count))][:count]


def _chat_logprobs(text: str, body: Body) -> Body:
    count = body.get("top_logprobs") or 0
    content = [
        {
            "token": token,
            "logprob": -0.1,
            "bytes": list(token.encode()),
            "top_logprobs": [
                {"token": other, "logprob": logprob, "bytes": None}
                for other, logprob in _alternatives(token, count)
            ],
        }
        for token in tokens(text)
    ]
    return {"content": content}


def _logprobs(text: str, body: Body) -> Body:
    cut = tokens(text)
    return {
        "text_offset": [0] * len(cut),
        "tokens": cut,
        "token_logprobs": [-0.1] * len(cut),
        # As vLLM does, the token itself is there even when no alternative was asked for.
        "top_logprobs": [dict(_alternatives(token, max(1, body["logprobs"]))) for token in cut],
    }


def _prompt_logprobs(prompt: str, body: Body) -> list[Body | None] | None:
    count = body.get("prompt_logprobs")
    if count is None:
        return None
    # The prompt's own token comes first, here as the second likeliest of all.
    return [
        None,
        *(
            {
                "7": {"logprob": -2.0, "rank": 2, "decoded_token": token},
                **{
                    str(100 + rank): {
                        "logprob": -float(rank),
                        "rank": rank,
                        "decoded_token": f"other{rank}",
                    }
                    for rank in range(1, count + 1)
                    if rank != 2
                },
            }
            for token in tokens(prompt)[1:]
        ),
    ]
