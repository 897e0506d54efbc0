"""What every reader and its config can be asked, with the defaults of a reader that sets none of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import pytest
from pydantic import TypeAdapter

from tasks.llm.base import Reader, ReaderConfig
from tasks.llm.dispatch import ask_all
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.readers import AnyReader
from tasks.llm.request import Outcome, Prices, Reply, Request

MINIMAL = {
    "baseline": {},
    "openai": {"urls": ["http://127.0.0.1:1/v1"], "model": "m"},
    "sentence_transformers": {"model": "./m"},
    "transformers": {"model": "./m"},
}


class Echo(Reader):
    """Answers with the prompt."""

    async def ask(self, request: Request) -> Outcome:
        return Outcome(request, Reply(request.prompt or ""), None, "embedded", "echo", 1, latency=0.0)


class EchoConfig(ReaderConfig, frozen=True):
    """The least that a new kind of reader has to say of itself."""

    kind: Literal["echo"] = "echo"

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind}

    def open(self) -> AbstractAsyncContextManager[Reader]:
        return _opened()


@asynccontextmanager
async def _opened() -> AsyncIterator[Reader]:
    yield Echo()


def test_a_reader_needs_no_more_than_ask() -> None:
    """All else has defaults: requests that belong together are asked one by one, and come back in order."""

    async def ask(requests: Sequence[Request]) -> list[Outcome]:
        async with EchoConfig().open() as reader:
            assert (64, frozenset(), True) == (
                reader.in_flight,
                reader.control_tokens,
                reader.asks_singly(requests),
            )
            return [*await reader.ask_together(requests), *await ask_all(reader, requests)]

    requests = [Request(f"7/0/none/{number}", prompt=str(number), together="7") for number in range(3)]
    assert ["0", "1", "2"] * 2 == [
        outcome.reply and outcome.reply.text for outcome in asyncio.run(ask(requests))
    ]


def test_a_config_has_the_defaults_of_a_model_in_this_process() -> None:
    """It is there, costs nothing, caches nothing and refuses nothing that it is not asked for."""
    config = EchoConfig()
    asyncio.run(config.check())
    assert config.refuses(Request("7/0", prompt="x")) is None
    assert (False, False, "off", Prices(), (), None, None, frozenset()) == (
        config.remote,
        config.is_optional,
        config.cached_replies,
        config.prices,
        config.missing_prices,
        config.model_name,
        config.cache_block,
        config.control_tokens,
    )
    assert {"kind": "echo"} == config.model_dump()


def test_servers_say_it_as_their_keys_do() -> None:
    """Each property is what a key says, under a name of its own."""
    config = OpenAIReader(
        urls=["http://127.0.0.1:1/v1"],
        model="m",
        optional=True,
        replies="keep_failures",
        prompt_price=1.0,
        block=None,
    )
    assert (True, True, "keep_failures", ("completion_price",), "m", None) == (
        config.remote,
        config.is_optional,
        config.cached_replies,
        config.missing_prices,
        config.model_name,
        config.cache_block,
    )
    assert Prices(1.0, None, None) == config.prices


@pytest.mark.parametrize(("kind", "options"), MINIMAL.items())
def test_no_reader_stores_more_than_its_keys(kind: str, options: dict[str, object]) -> None:
    """The base adds no field, since fingerprints of steps hash a config's fields in their order."""
    config = TypeAdapter[ReaderConfig](AnyReader).validate_python({"kind": kind, **options})
    assert list(config.model_dump()) == list(type(config).model_fields)
    assert next(iter(type(config).model_fields)) == "kind"
    assert (
        not {name for name in vars(ReaderConfig) if not name.startswith("_")}
        & type(config).model_fields.keys()
    )
