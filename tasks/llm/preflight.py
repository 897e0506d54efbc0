"""What is asked before a run: whether every endpoint is there, takes the key and has the model.

What a run relies on beside text is tried out, since servers ignore fields that they do not know: it costs a few tokens.
"""

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from http import HTTPStatus

from pydantic import BaseModel, ValidationError

from tasks.llm.answers import FieldIgnored, ServerFault, decode, own_words
from tasks.llm.endpoints import EndpointRefused, OpenAIReader
from tasks.llm.request import Request
from tasks.llm.secret import Secret, secret_from
from tasks.llm.transport import Answer, Broken, Late, Transport, Unconnected, transport
from tasks.llm.wire import encode

_PATIENCE = 10.0
"""Seconds for the list of models, which a healthy server gives at once."""
_QUOTED = 300
"""Characters of a server's words that a complaint keeps."""
_NAMED = 3
"""Models that a complaint names."""
_NO_LIST = frozenset({404, 405, 501})
"""Statuses of servers that do not list models, which are taken at their word."""


_DOUBTFUL = frozenset({408, 409, 425, 429})
"""Statuses that say nothing of what was asked."""


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


async def preflight(reader: OpenAIReader, examples: Sequence[Request] = ()) -> None:
    """Ask every endpoint, all at once; whoever passes is asked the examples too.

    Raises EndpointRefused for the first, in the config's order, that the run cannot use.
    """
    secret = secret_from(reader.key_env)
    timeouts = (reader.connect_timeout, min(_PATIENCE, reader.read_timeout))
    async with transport(secret.headers, *timeouts, secure=reader.secure) as http:
        asked = [_complaint(reader, url, http, secret) for url in reader.urls]
        complaints = [complaint for complaint in await asyncio.gather(*asked) if complaint]
        if not complaints:
            tried = [
                _tried(reader, url, http, secret, example) for url in reader.urls for example in examples
            ]
            complaints = [complaint for complaint in await asyncio.gather(*tried) if complaint]
    if complaints:
        more = f" (and {len(complaints) - 1} more of the urls)" if len(complaints) > 1 else ""
        raise EndpointRefused(complaints[0] + more)


async def _complaint(reader: OpenAIReader, url: str, http: Transport, secret: Secret) -> str | None:
    """Return what is wrong with one endpoint, where, and what to do; null if nothing is."""
    try:
        response = await http.get(f"{url}/models")
        if response.status in _NO_LIST:
            return await _misplaced(url, http)
    except Late:
        return f"{url} does not answer: see that the server runs there and is ready"
    except (Unconnected, Broken) as error:
        why = secret.scrub(str(error))[:_QUOTED]
        return f"{url} cannot be reached ({why}): start the server or correct urls"
    return _reading(reader, url, response, secret)


def _reading(reader: OpenAIReader, url: str, response: Answer, secret: Secret) -> str | None:
    """Return what is wrong with an endpoint that answered."""
    if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        given = "was refused" if secret else "is missing"
        what = f"the API key {given} (status {response.status})"
        return f"{url}: {what}: set the environment variable {reader.key_env}"
    if not response.ok:
        said = secret.scrub(own_words(response.body))[:_QUOTED]
        what = f"answers {response.status} when asked for its models"
        return f"{url} {what} ({said}): see that the server is ready"
    try:
        models = _Models.model_validate_json(secret.scrub_body(response.body))
    except ValidationError:
        return f"{url} lists no models as an OpenAI-compatible server does: correct urls"
    return _unlisted(reader, url, [model.id for model in models.data])


def _unlisted(reader: OpenAIReader, url: str, listed: list[str]) -> str | None:
    """Return the complaint that the model is not among those listed, naming the nearest."""
    if reader.model in listed:
        return None
    near = get_close_matches(reader.model, listed, _NAMED, cutoff=0.3) or listed[:_NAMED]
    known = ", ".join(near) or "none at all"
    return f"{url} does not serve the model {reader.model}: set model to what it lists ({known})"


async def _misplaced(url: str, http: Transport) -> str | None:
    """Return the complaint that an address lacks the /v1 below which the server listens."""
    nested = await http.get(f"{url}/v1/models")
    if nested.ok:
        return f"{url} is not where the server listens: write {url}/v1"
    return None


async def _tried(
    reader: OpenAIReader, url: str, http: Transport, secret: Secret, example: Request
) -> str | None:
    """Return the complaint that an endpoint does not give what an example asks for; null if that cannot be told."""
    call = encode((example,), reader.model)
    try:
        answer = await http.post(url + call.path, call.body)
    except (Unconnected, Late, Broken):
        return None  # slow or ill at the moment, which the run itself will bear with
    if answer.status in _DOUBTFUL or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    if not answer.ok:
        said = secret.scrub(own_words(answer.body))[:_QUOTED]
        return f"{url}{call.path} refuses what a scorer asks ({said}): change the scorer, or the server's options"
    try:
        decode((example,), answer.body)
    except FieldIgnored as fault:
        return f"{url}{call.path}: {fault}: take a server that gives them, or a scorer that does without"
    except ServerFault:
        return None
    return None
