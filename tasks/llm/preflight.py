"""What is asked before a run: whether every endpoint is there, takes the key and has the model.

Knows the route that lists models and no other; costs no tokens.
"""

import asyncio
from difflib import get_close_matches
from http import HTTPStatus

import httpx2
from pydantic import BaseModel, ValidationError

from tasks.llm.client import innermost, trusted
from tasks.llm.endpoints import EndpointRefused, OpenAIReader
from tasks.llm.secret import Secret, secret_from
from tasks.llm.wire import own_words

_PATIENCE = 10.0
"""Seconds for the list of models, which a healthy server gives at once."""
_QUOTED = 300
"""Characters of a server's words that a complaint keeps."""
_NAMED = 3
"""Models that a complaint names."""
_NO_LIST = frozenset({404, 405, 501})
"""Statuses of servers that do not list models, which are taken at their word."""


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


async def preflight(reader: OpenAIReader) -> None:
    """Ask every endpoint, all at once.

    Raises EndpointRefused for the first, in the config's order, that the run cannot use.
    """
    secret = secret_from(reader.key_env)
    async with httpx2.AsyncClient(
        headers=secret.headers,
        timeout=httpx2.Timeout(min(_PATIENCE, reader.read_timeout), connect=reader.connect_timeout),
        trust_env=False,
        verify=trusted(reader),
    ) as http:
        asked = [_complaint(reader, url, http, secret) for url in reader.urls]
        complaints = [complaint for complaint in await asyncio.gather(*asked) if complaint]
    if complaints:
        more = f" (and {len(complaints) - 1} more of the urls)" if len(complaints) > 1 else ""
        raise EndpointRefused(complaints[0] + more)


async def _complaint(reader: OpenAIReader, url: str, http: httpx2.AsyncClient, secret: Secret) -> str | None:
    """Return what is wrong with one endpoint, where, and what to do; null if nothing is."""
    try:
        response = await http.get(f"{url}/models")
        if response.status_code in _NO_LIST:
            return await _misplaced(url, http)
    except httpx2.TimeoutException:
        return f"{url} does not answer: see that the server runs there and is ready"
    except httpx2.RequestError as error:
        why = secret.scrub(innermost(error))[:_QUOTED]
        return f"{url} cannot be reached ({why}): start the server or correct urls"
    return _reading(reader, url, response, secret)


def _reading(reader: OpenAIReader, url: str, response: httpx2.Response, secret: Secret) -> str | None:
    """Return what is wrong with an endpoint that answered."""
    if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        given = "was refused" if secret else "is missing"
        what = f"the API key {given} (status {response.status_code})"
        return f"{url}: {what}: set the environment variable {reader.key_env}"
    if not response.is_success:
        said = secret.scrub(own_words(response.content))[:_QUOTED]
        what = f"answers {response.status_code} when asked for its models"
        return f"{url} {what} ({said}): see that the server is ready"
    try:
        models = _Models.model_validate_json(secret.scrub_body(response.content))
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


async def _misplaced(url: str, http: httpx2.AsyncClient) -> str | None:
    """Return the complaint that an address lacks the /v1 below which the server listens."""
    nested = await http.get(f"{url}/v1/models")
    if nested.is_success:
        return f"{url} is not where the server listens: write {url}/v1"
    return None
