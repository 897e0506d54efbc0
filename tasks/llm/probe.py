"""What a server really does with a field, found out by asking: those that it does not know it ignores, with status 200.

Costs a few tokens per endpoint.
"""

import asyncio
import json
from collections.abc import Sequence

from tasks.llm.request import Message, Request, Structured
from tasks.llm.transport import Broken, Late, Transport, Unconnected
from tasks.llm.wire import FieldIgnored, ServerFault, decode, encode

_WORD = "gloss-7f3a"
"""What no model says of itself."""
_ASKED = (Message("user", "Say hello."),)
_WAYS: tuple[tuple[Structured, Request], ...] = (
    ("structured_outputs", Request("choice", messages=_ASKED, max_tokens=16, choices=(_WORD,))),
    (
        "response_format",
        Request(
            "schema",
            messages=_ASKED,
            # Room for the white space that models put between signs where they may.
            max_tokens=64,
            schema=json.dumps(
                {
                    "type": "object",
                    "properties": {"said": {"type": "string", "enum": [_WORD]}},
                    "required": ["said"],
                    "additionalProperties": False,
                }
            ),
        ),
    ),
)


async def structured_by(http: Transport, urls: Sequence[str], model: str) -> Structured:
    """Return the best way in which all endpoints that answer hold replies to a form."""
    found = await asyncio.gather(*(_ways(http, url, model) for url in urls))
    answered = [ways for ways in found if ways is not None]
    for way, _ in _WAYS:
        if answered and all(way in ways for ways in answered):
            return way
    return "plain"


async def _ways(http: Transport, url: str, model: str) -> set[Structured] | None:
    """The ways of one endpoint; null when it gives no answer at all."""
    held = [await _held(http, url, model, way, request) for way, request in _WAYS]
    if None in held:
        return None
    return {way for (way, _), does in zip(_WAYS, held, strict=True) if does}


async def _held(http: Transport, url: str, model: str, way: Structured, request: Request) -> bool | None:
    call = encode((request,), model, way)
    try:
        answer = await http.post(url + call.path, call.body)
    except (Unconnected, Late, Broken):
        return None
    if not answer.ok:
        return None if answer.status >= 500 else False
    try:
        (reply,) = decode((request,), answer.body)
    except (ServerFault, FieldIgnored):
        return False
    said = reply.text.strip()
    if request.choices:
        return said in request.choices
    try:
        return json.loads(said) == {"said": _WORD}
    except ValueError:
        return False
