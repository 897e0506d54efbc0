"""What a run's config may say of endpoints, and what is found out before the run."""

import asyncio
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.llm.base import EndpointRefused
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Message, Request
from tests.tasks.llm.faulty_server import Fault, always, faulty_server, refusing_port
from tests.tasks.model_files.ggufs import write_gguf

KEY = "sk-0123456789abcdef"


def reader(*urls: str, **changes: object) -> OpenAIReader:
    return OpenAIReader.model_validate({"urls": list(urls), "model": "tiny"} | changes)


def refusal(config: OpenAIReader, *examples: Request) -> str:
    with pytest.raises(EndpointRefused) as refused:
        asyncio.run(config.check(examples))
    return str(refused.value)


def test_a_config_survives_the_trip_to_a_worker() -> None:
    """Configs are pickled when tasks run elsewhere."""
    config = reader("http://host:8000/v1/", in_flight=7)
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.urls == ["http://host:8000/v1"]


def test_its_control_tokens_may_come_from_a_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of any tokenizer; a path on the server's machine names none here."""
    monkeypatch.setenv("GLOSS_CACHE", str(tmp_path / "cache"))
    write_gguf(tmp_path / "m.gguf")

    assert {"<bos>", "<eos>"} <= reader("http://h/v1", tokenizer=str(tmp_path / "m.gguf")).control_tokens
    for elsewhere in ("/models/m.gguf", "/models/tiny", "package:no_such"):
        assert frozenset() == reader("http://h/v1", model=elsewhere).control_tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"urls": []},
        {"urls": ["host:8000/v1"]},
        {"urls": ["http://"]},
        {"urls": ["http://host:port/v1"]},
        {"urls": ["http://host:0/v1"]},
        {"urls": ["http://user:password@host/v1"]},
        {"urls": ["http://host/v1?key=1"]},
        {"urls": ["http://host/v1 "]},
        {"urls": ["http://host/v1", "http://host/v1/"]},
        {"in_flight": 0},
        {"attempts": 0},
        {"read_timeout": 0},
        {"read_timeout": float("inf")},
        {"model": ""},
        {"api_key": KEY},
    ],
)
def test_a_config_that_cannot_work_is_refused(changes: dict[str, object]) -> None:
    """Among them anything that would put a key or a password into the config."""
    with pytest.raises(ValidationError):
        reader("http://host/v1", **changes)


def test_every_field_is_described() -> None:
    """Descriptions are what Prefect's form shows."""
    properties = OpenAIReader.model_json_schema()["properties"]
    assert [name for name, field in properties.items() if not field.get("description")] == []


def test_importing_the_config_loads_no_http_library() -> None:
    """Nor Prefect, nor torch: the command line starts with it."""
    heavy = "{'aiohttp', 'httpx', 'prefect', 'torch'}"
    code = f"import sys, tasks.llm.openai.config; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "set()\n"


def test_a_server_that_lists_the_model_passes() -> None:
    """Any number of them, asked at once."""
    with faulty_server() as first, faulty_server(models=("other", "tiny")) as second:
        asyncio.run(reader(first.url, second.url).check())


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_list_of_models_passes(status: int) -> None:
    """Some servers lack the route."""
    with faulty_server(models=status) as server:
        asyncio.run(reader(server.url).check())


def test_a_server_that_is_not_there_is_named() -> None:
    """The sentence says what, where and what to do."""
    with refusing_port() as url:
        message = refusal(reader(url))
    assert message == f"{url} cannot be reached (connection refused): start the server or correct urls"


def test_the_first_bad_endpoint_is_named_and_the_others_counted() -> None:
    """One sentence, however many are wrong."""
    with faulty_server(models=401) as first, faulty_server(models=()) as second, faulty_server() as server:
        message = refusal(reader(server.url, first.url, second.url))
    assert message.startswith(first.url)
    assert message.endswith("(and 1 more of the urls)")


def test_a_model_that_is_not_served_is_answered_with_the_nearest() -> None:
    """A misspelt name is the likeliest reason."""
    with faulty_server(models=("google/gemma-2-9b", "meta/llama-3-8b", "tiny")) as server:
        message = refusal(reader(server.url, model="llama-3-8b"))
    assert "does not serve the model llama-3-8b" in message
    assert "set model to what it lists (meta/llama-3-8b, " in message


def test_a_server_without_models_is_refused() -> None:
    """There is no nearest name then."""
    with faulty_server(models=()) as server:
        assert "none at all" in refusal(reader(server.url))


@pytest.mark.parametrize(("key", "what"), [("", "is missing"), (KEY, "was refused")])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_from_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, key: str, what: str, status: int
) -> None:
    """The variable is named, the key is not."""
    monkeypatch.setenv("TINY_KEY", key)
    with faulty_server(models=status) as server:
        message = refusal(reader(server.url, key_env="TINY_KEY"))
    assert what in message
    assert "TINY_KEY" in message
    assert KEY not in message


def test_a_server_that_is_not_ready_is_quoted() -> None:
    """Its own words tell more than the status."""
    with faulty_server(models=503) as server:
        message = refusal(reader(server.url))
    assert "answers 503 when asked for its models (no list for you)" in message


def test_a_forgotten_v1_is_noticed() -> None:
    """Such a server lists no models at that address, as some do, but it does one level below."""
    with faulty_server() as server:
        message = refusal(reader(server.origin))
    assert message == f"{server.origin} is not where the server listens: write {server.url}"


def test_an_address_of_something_else_is_refused() -> None:
    """Success alone does not make an OpenAI-compatible server."""
    with faulty_server(models=200) as server:
        assert "lists no models" in refusal(reader(server.url))


RELIED = (
    Request("0/a", messages=(Message("user", "Is it so?"),), top_logprobs=2, max_tokens=1),
    Request("0/b", prompt="once upon", prompt_logprobs=0, max_tokens=1),
    Request("0/c", texts=("one", "two")),
)


@pytest.mark.parametrize("example", RELIED)
def test_what_a_run_relies_on_is_tried_out(example: Request) -> None:
    """Log-probabilities of replies and of prompts, and vectors."""
    with faulty_server() as server:
        asyncio.run(reader(server.url).check([example]))
        assert len(server.requests) == 1


@pytest.mark.parametrize("example", RELIED[:2])
def test_a_server_that_ignores_what_a_run_relies_on_is_refused(example: Request) -> None:
    """It answers 200 all the same, to every question of the run."""
    with faulty_server() as able, faulty_server(always(Fault.NO_LOGPROBS)) as server:
        asyncio.run(reader(able.url).check([example]))
        message = refusal(reader(able.url, server.url), example)
    assert message.startswith(f"{server.url}/")
    assert "the server ignored that log-probabilities of the" in message


def test_a_server_that_refuses_what_a_run_relies_on_is_quoted() -> None:
    """As one does that allows fewer alternatives."""
    with faulty_server(always(Fault.BAD_REQUEST)) as server, pytest.raises(EndpointRefused, match="too long"):
        asyncio.run(reader(server.url).check(RELIED))


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.LIMITED, Fault.RESET_BEFORE, Fault.ABORTED])
def test_a_passing_fault_refuses_nobody(fault: Fault) -> None:
    """The run itself tries again."""
    with faulty_server(always(fault)) as server:
        asyncio.run(reader(server.url).check(RELIED))
