"""The server that stands for vLLM in tests gives what transformers computes, in the shape that the client reads."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
import torch

from tasks.llm.dispatch import ask_all
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Message, Outcome, Request
from tests.flows.command import TOY
from tests.tasks.llm.model_server import NAME, Served, model_server


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with model_server(TOY / "subject") as served:
        yield served


def ask(server: Served, requests: Sequence[Request]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        reader = OpenAIReader(urls=[server.url], model=NAME, attempts=1)
        await reader.check()
        async with reader.open() as client:
            return await ask_all(client, requests)

    return asyncio.run(run())


def test_prompts_come_back_with_the_log_probabilities_of_their_tokens(server: Served) -> None:
    """The first token has neither text nor number; a character that is split has its text at its last token."""
    text = "the lamp ⏎ é was lit"
    (outcome,) = ask(server, [Request("a", prompt=text, max_tokens=1, prompt_logprobs=2)])
    assert outcome.reply is not None
    tokens = outcome.reply.prompt
    ids = server.model.tokenizer(text).input_ids
    with torch.inference_mode():
        logprobs = torch.log_softmax(server.model.network(torch.tensor([ids])).logits[0], -1)
    assert ("", None) == tokens[0][:2]
    assert text.removeprefix("the") == "".join(token.token for token in tokens)
    assert [float(logprobs[i, item]) for i, item in enumerate(ids[1:])] == pytest.approx(
        [token.logprob for token in tokens[1:]], abs=1e-4
    )
    assert [logprobs[i].topk(2).values.tolist() for i in range(len(ids) - 1)] == [
        pytest.approx(sorted(token.top.values(), reverse=True), abs=1e-4) for token in tokens[1:]
    ]


def test_a_list_of_prompts_is_answered_in_its_order(server: Served) -> None:
    """As each alone is, and together they are one call."""
    prompts = ["once upon a time", "the lamp", "in the beginning God created"]
    parts = tuple(
        Request(f"a/{i}", prompt=part, max_tokens=3, top_logprobs=1) for i, part in enumerate(prompts)
    )
    before = len(server.model.bodies)
    (together,) = ask(server, [Request("a", parts=parts)])
    assert 1 == len(server.model.bodies) - before
    alone = ask(server, parts)
    assert together.reply is not None
    assert [part.text for part in together.reply.parts] == [part.reply.text for part in alone if part.reply]
    assert [3, 3, 3] == [len(part.completion) for part in together.reply.parts]


def test_chats_and_texts_are_answered(server: Served) -> None:
    """With alternatives at each generated token, and with one vector per text."""
    chat = Request("a", messages=(Message("user", "Hello."),), max_tokens=2, top_logprobs=3)
    message, embedded = ask(server, [chat, Request("b", texts=("the lamp", "a boat"))])
    assert message.reply is not None
    assert embedded.reply is not None
    assert [3, 3] == [len(token.top) for token in message.reply.completion]
    vectors = [
        server.model.run(tuple(server.model.ids(text)))[1].mean(0).tolist() for text in ("the lamp", "a boat")
    ]
    assert vectors == [pytest.approx(list(vector), abs=1e-6) for vector in embedded.reply.vectors]


def test_more_alternatives_than_a_server_gives_are_refused(server: Served) -> None:
    """With its words, and for good."""
    (outcome,) = ask(server, [Request("a", prompt="x", prompt_logprobs=21)])
    assert "no more than 20" in (outcome.reason or "")
