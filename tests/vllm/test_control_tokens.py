"""Whatever contexts and explanations hold, a real server sees the turns that were meant and no control token more."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from transformers import PreTrainedTokenizerFast

from tasks.llm.dispatch import ask_fitting
from tasks.llm.request import Message, Outcome, Request
from tests.tasks.hostile import CONTROL, EXPLANATION, asked, hostile, shown
from tests.vllm.asking import reader, tokenised
from tests.vllm.server import OWN, Server


@pytest.fixture(scope="module")
def special(server: Server) -> dict[int, str]:
    """The ids of all control tokens."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(server.model)
    return {tokenizer.convert_tokens_to_ids(token): token for token in (*CONTROL, OWN)}


def seen(server: Server, special: dict[int, str], **asked: object) -> Counter[str]:
    """The control tokens that the server finds in what it is asked, and how often each."""
    return Counter(special[token] for token in tokenised(server, **asked) if token in special)


def chat(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.text} for turn in messages]


def turns(count: int) -> Counter[str]:
    """The control tokens of so many turns and of the answer's beginning."""
    return Counter({"<bos>": 1, "<|im_start|>": count + 1, "<|im_end|>": count})


def test_every_prompt_has_its_own_turns_and_no_others(server: Server, special: dict[int, str]) -> None:
    """Of each explainer and scorer, about a feature whose contexts and explanation are full of control tokens."""
    kinds = Counter[str]()
    for name, request in asked(hostile()):
        if kinds[name] == 2:
            continue  # the others have other contexts of the same
        kinds[name] += 1
        if request.messages:
            result = seen(server, special, messages=chat(request.messages))
            assert turns(len(request.messages)) == result, (name, request.messages[-1])
        else:
            for text in shown(request):
                assert {} == seen(server, special, prompt=text, add_special_tokens=False), (name, text)
    assert len(kinds) > 12


def test_without_breaking_them_up_turns_would_end(server: Server, special: dict[int, str]) -> None:
    """The server takes each of them for what it says in quoted text."""
    result = seen(server, special, messages=[{"role": "user", "content": EXPLANATION}])
    assert result["<|im_end|>"] == 2
    assert result["<|im_start|>"] == 4
    assert {*CONTROL} == {*result}


def test_a_reader_s_own_control_tokens_are_known_from_its_tokenizer(
    server: Server, special: dict[int, str]
) -> None:
    """Those of no family too, where the config names the tokenizer's folder."""
    request = Request("1/0", messages=(Message("user", f"It ends here{OWN}."),), max_tokens=1)

    async def run(**more: object) -> Outcome:
        async with reader(server, **more).open() as client:
            (outcome,) = await ask_fitting(client, [request], lambda _: [])
            return outcome

    for more, expected in (({}, 1), ({"tokenizer": str(server.model)}, 0)):
        outcome = asyncio.run(run(**more))
        assert outcome.reply is not None, outcome.reason
        assert expected == seen(server, special, messages=chat(outcome.request.messages))[OWN]
