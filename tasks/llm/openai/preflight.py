"""The preflight check: whether every endpoint can be reached, accepts the key and serves the model.

An endpoint that cannot be reached is no obstacle while another can: the client sends it nothing until it is back. One
that can be reached and is wrong stops the run. What a run relies on besides text is tested with requests, which cost a
few tokens, since servers ignore unknown fields.
"""

import asyncio
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from tasks.llm.base import EndpointRefused
from tasks.llm.openai.api_key import Secret, secret_from
from tasks.llm.openai.config import OpenAIConfig
from tasks.llm.openai.decode import FieldIgnored, ServerFault, decode, own_words
from tasks.llm.openai.encode import encode
from tasks.llm.openai.http_client import (
    ConnectionBroken,
    HttpClient,
    HttpResponse,
    NoConnection,
    ResponseTimeout,
    ResponseTooLong,
    open_http_client,
)
from tasks.llm.openai.parameters import refused_parameter
from tasks.llm.request import Reply, Request

_PATIENCE = 10.0
"""Timeout in seconds for the list of models, which a healthy server returns immediately."""
_QUOTED = 300
"""Characters of a server's words that a complaint keeps."""
_NAMED = 3
"""Models that a complaint names."""
_INVALID = frozenset({400, 422})
_NO_LIST = frozenset({404, 405, 501})
"""Statuses of servers that do not list models; these are assumed to serve the model."""


class EndpointsAway(EndpointRefused):
    """No endpoint of a reader can be reached, or none is ready."""


class _Fault(NamedTuple):
    """What is wrong with one endpoint."""

    what: str
    """With its address."""
    remedy: str
    away: bool = False
    """Whether it is unavailable, and may be usable when it comes back."""

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


Unfit = Callable[[Request, Reply], str | None]
"""Why an endpoint that replies so to an example cannot be used, and what to do; None where it can."""


def _fit(_example: Request, _reply: Reply) -> None:
    """Accept every reply."""


async def preflight(reader: OpenAIConfig, examples: Sequence[Request] = (), unfit: Unfit = _fit) -> list[str]:
    """Check every endpoint, all at once; those that pass get the examples too. Returns a line on each that is away.

    Raises EndpointRefused for the first, in the config's order, that is there and cannot be used by the run, and
    EndpointsAway where none is there.
    """
    secret = secret_from(reader.key_env)
    timeouts = (reader.connect_timeout, min(_PATIENCE, reader.read_timeout))
    async with open_http_client(secret.headers, reader.urls, *timeouts, reader.proxy) as http:
        asked = [_listed(reader, url, http, secret) for url in reader.urls]
        faults = dict(zip(reader.urls, await asyncio.gather(*asked), strict=True))
        away = [fault for fault in faults.values() if fault and fault.away]
        wrong = [fault for fault in faults.values() if fault and not fault.away]
        if not wrong:
            there = [url for url, fault in faults.items() if fault is None]
            tried = [
                _tried(reader, url, http, secret, example, unfit) for url in there for example in examples
            ]
            wrong = [fault for fault in await asyncio.gather(*tried) if fault]
    if wrong:
        raise EndpointRefused(_told(wrong))
    if len(away) == len(reader.urls):
        raise EndpointsAway(_told(away))
    return [fault.what for fault in away]


def _told(faults: Sequence[_Fault]) -> str:
    more = f" (and {len(faults) - 1} more of the urls)" if len(faults) > 1 else ""
    return f"{faults[0]}{more}"


async def _listed(reader: OpenAIConfig, url: str, http: HttpClient, secret: Secret) -> _Fault | None:
    """Return what is wrong with one endpoint, by its list of models; None if nothing is."""
    try:
        response = await http.get(f"{url}/models")
        if response.status in _NO_LIST:
            return await _misplaced(url, http)
    except ResponseTimeout:
        return _Fault(f"{url} does not answer", "see that the server runs there and is ready", away=True)
    except ResponseTooLong as error:
        return _Fault(f"{url} does not list its models: {error}", "correct urls")
    except (NoConnection, ConnectionBroken) as error:
        why = secret.scrub(str(error))[:_QUOTED]
        return _Fault(f"{url} cannot be reached ({why})", "start the server or correct urls", away=True)
    return _reading(reader, url, response, secret)


def _reading(reader: OpenAIConfig, url: str, response: HttpResponse, secret: Secret) -> _Fault | None:
    """Return what is wrong with an endpoint that answered."""
    if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        given = "was refused" if secret else "is missing"
        what = f"{url}: the API key {given} (status {response.status})"
        return _Fault(what, f"set the environment variable {reader.key_env}")
    if not response.ok:
        complaint = secret.scrub(own_words(response.body))[:_QUOTED]
        what = f"{url} answers {response.status} when asked for its models ({complaint})"
        return _Fault(what, "see that the server is ready", away=response.transient)
    try:
        models = _Models.model_validate_json(secret.scrub_body(response.body))
    except ValidationError:
        return _Fault(f"{url} lists no models as an OpenAI-compatible server does", "correct urls")
    return _unlisted(reader, url, [model.id for model in models.data])


def _unlisted(reader: OpenAIConfig, url: str, listed: list[str]) -> _Fault | None:
    """Return the fault that the model is not among those listed, naming the nearest."""
    if reader.model in listed:
        return None
    near = get_close_matches(reader.model, listed, _NAMED, cutoff=0.3) or listed[:_NAMED]
    known = ", ".join(near) or "none at all"
    return _Fault(f"{url} does not serve the model {reader.model}", f"set model to what it lists ({known})")


async def _misplaced(url: str, http: HttpClient) -> _Fault | None:
    """Return the fault that an address lacks the /v1 below which the server listens."""
    nested = await http.get(f"{url}/v1/models")
    if nested.ok:
        return _Fault(f"{url} is not where the server listens", f"write {url}/v1")
    return None


async def _put(
    reader: OpenAIConfig, url: str, http: HttpClient, example: Request
) -> tuple[HttpResponse, str]:
    """The answer to an example, asked without the settings that the server refuses, and the route.

    Raises as `HttpClient.post`.
    """
    parameters, refused = reader.parameters, set[str]()
    while True:
        call = encode((example,), reader.model, parameters=parameters)
        answer = await http.post(url + call.path, call.body, call.limit)
        name = refused_parameter(answer.body, call.settings) if answer.status in _INVALID else None
        if name is None or name in refused:
            return answer, call.path
        refused.add(name)
        parameters = parameters.without(name)


async def _tried(
    reader: OpenAIConfig, url: str, http: HttpClient, secret: Secret, example: Request, unfit: Unfit
) -> _Fault | None:
    """Return the fault that an endpoint does not give what an example asks for; None if that cannot be told."""
    try:
        answer, path = await _put(reader, url, http, example)
    except (NoConnection, ResponseTimeout, ConnectionBroken):
        return None  # slow or failing at the moment; the run itself will retry
    if answer.transient:
        return None
    if not answer.ok:
        complaint = secret.scrub(own_words(answer.body))[:_QUOTED]
        what = f"{url}{path} refuses what a scorer asks ({complaint})"
        return _Fault(what, "change the scorer, or the server's options")
    try:
        (reply,) = decode((example,), answer.body)
    except FieldIgnored as fault:
        remedy = "take a server that gives them, or a scorer that does without"
        return _Fault(f"{url}{path}: {fault}", remedy)
    except ServerFault:
        return None
    why = unfit(example, reply) if isinstance(reply, Reply) else None
    return _Fault(f"{url}{path}", why) if why else None
