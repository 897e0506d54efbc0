"""Which endpoints a run can do without at its start, and which it cannot."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tasks.llm.base import EndpointRefused
from tasks.llm.openai.preflight import EndpointsAway, preflight
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Request
from tests.tasks.llm.faulty_server import Fault, FaultyServer, always, faulty_server, refusing_port

EXAMPLE = Request("0/a", prompt="once upon", prompt_logprobs=0, max_tokens=1)


def away(*urls: str, **changes: object) -> list[str]:
    reader = OpenAIReader.model_validate({"urls": list(urls), "model": "tiny", **changes})
    return asyncio.run(preflight(reader, [EXAMPLE]))


def test_who_is_away_is_told_while_another_is_there() -> None:
    """All of them, in the config's order; only who is there is tried out."""
    with refusing_port() as first, faulty_server(models=503) as second, faulty_server() as server:
        assert [
            f"{first} cannot be reached (connection refused)",
            f"{second.url} answers 503 when asked for its models (no list for you)",
        ] == away(first, server.url, second.url)
        assert ([], 1) == (second.requests, len(server.requests))


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_who_is_not_ready_is_away(status: int) -> None:
    """Alone it is refused, in the same words."""
    with faulty_server(models=status) as server, faulty_server() as other:
        (message,) = away(server.url, other.url)
        with pytest.raises(EndpointsAway) as refused:
            away(server.url)
    assert str(refused.value) == f"{message}: see that the server is ready"


def test_who_does_not_answer_in_time_is_away() -> None:
    """A server that takes connections and is silent, such as one that loads its model."""
    with socket.create_server(("127.0.0.1", 0)) as listening, faulty_server() as server:
        silent = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        assert [f"{silent} does not answer"] == away(silent, server.url, read_timeout=0.2)


def test_all_of_them_away_is_refused() -> None:
    """The first is named, the others are counted."""
    with refusing_port() as first, refusing_port() as second, pytest.raises(EndpointsAway) as refused:
        away(first, second)
    assert str(refused.value) == (
        f"{first} cannot be reached (connection refused): start the server or correct urls (and 1 more of the urls)"
    )


def wrong_model() -> AbstractContextManager[FaultyServer]:
    return faulty_server(models=("other",))


def refused_key() -> AbstractContextManager[FaultyServer]:
    return faulty_server(models=401)


def other_server() -> AbstractContextManager[FaultyServer]:
    return faulty_server(models=200)


def moved() -> AbstractContextManager[FaultyServer]:
    return faulty_server(models=307)


def ignored_field() -> AbstractContextManager[FaultyServer]:
    return faulty_server(always(Fault.NO_LOGPROBS))


@pytest.mark.parametrize("serve", [wrong_model, refused_key, other_server, moved, ignored_field])
def test_who_is_wrong_is_refused_beside_others(
    serve: Callable[[], AbstractContextManager[FaultyServer]],
) -> None:
    """Good ones and such as are away: it will be as wrong when it is asked."""
    with serve() as server, faulty_server() as good, refusing_port() as gone:
        with pytest.raises(EndpointRefused) as refused:
            away(gone, good.url, server.url)
        assert str(refused.value).startswith(server.url)
        assert not isinstance(refused.value, EndpointsAway)


def test_a_forgotten_v1_is_refused_beside_others() -> None:
    """The sentence says what to write."""
    with (
        faulty_server() as server,
        faulty_server() as good,
        pytest.raises(EndpointRefused, match=f"write {server.url}$"),
    ):
        away(good.url, server.origin)
