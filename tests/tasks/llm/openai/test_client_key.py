"""The API key goes to the endpoint and into nothing that anybody reads."""

import pickle

import pytest

from tasks.llm.base import EndpointRefused, EndpointsDown
from tests.tasks.llm.faulty_server import (
    Fault,
    always,
    faulty_server,
    refusing_port,
)
from tests.tasks.llm.openai.client_calls import KEY, ask, reader


@pytest.mark.parametrize("fault", [*Fault])
def test_the_key_is_in_no_outcome(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Not even when a server repeats it."""
    if fault in (Fault.STALL, Fault.STALL_MIDWAY, Fault.DRIP):
        timeouts = {"read_timeout": 0.05, "connect_timeout": 0.1}
    else:
        timeouts = {}
    monkeypatch.setenv("TINY_KEY", KEY)
    with faulty_server(always(fault)) as server:
        config = reader(server.url, key_env="TINY_KEY", attempts=1, **timeouts)
        outcome = ask(config)
    assert KEY not in repr(outcome)
    assert KEY.encode() not in pickle.dumps(outcome)
    assert KEY not in repr(config)


def test_the_key_is_sent_and_cut_out_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the server in the header, and comes back as a placeholder."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with faulty_server(always(Fault.ECHO_KEY)) as server:
        refused = ask(reader(server.url))
    with faulty_server(always(Fault.ECHO_KEY_200)) as server:
        answered = ask(reader(server.url))
    assert refused.reason == "400 Bad Request: no access with Bearer [API key]"
    assert answered.reply is not None
    assert answered.reply.text == "[1, 0, 1] Bearer [API key]"


def test_the_key_is_in_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when endpoints are down nor when the key itself is bad."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with refusing_port() as url, pytest.raises(EndpointsDown) as down:
        ask(reader(url, patience=0))
    assert KEY not in repr(down.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n{KEY}")
    with refusing_port() as url, pytest.raises(EndpointRefused) as refused:
        ask(reader(url))
    assert KEY not in repr(refused.value)
