"""The reader in process gives what a vLLM server gives on the same weights in float32: tokens, numbers and forms."""

import json
from dataclasses import replace

import pytest

from tasks.llm.request import Outcome, Reply, Request, RequestKey
from tasks.scorers.base import read_judgements
from tasks.scorers.detection import Detection
from tests.tasks.toys import HARBOUR
from tests.vllm.asking import chat
from tests.vllm.pairs import BOUND, assert_equal, both
from tests.vllm.server import Server

WORDS = "house sea king door night word".split()
STORY = "The old man went down to the sea, and the ship sailed on. "


def test_chats_are_answered_with_the_same_tokens(server: Server) -> None:
    """And counted as the same: the end of a turn, special tokens and the template are one."""
    asked = [chat(f"1/{n}", f"{STORY * n}Is it the {word}?", top_logprobs=5) for n, word in enumerate(WORDS)]
    for served, own in both(server, *asked):
        assert_equal(served.completion, own.completion)
        assert (served.text, served.finish_reason) == (own.text, own.finish_reason)
        assert served.usage.prompt_tokens == own.usage.prompt_tokens
        assert served.usage.completion_tokens == own.usage.completion_tokens


def test_prompts_are_continued_with_the_same_tokens(server: Server) -> None:
    """Plain text, with what the tokenizer puts before it."""
    asked = [Request(f"2/{word}", prompt=f"the {word} was", max_tokens=8, top_logprobs=3) for word in WORDS]
    for served, own in both(server, *asked):
        assert_equal(served.completion, own.completion)
        assert served.text == own.text


@pytest.mark.parametrize("alternatives", [0, 5])
def test_the_tokens_of_a_prompt_have_the_same_log_probabilities(server: Server, alternatives: int) -> None:
    """With and without alternatives; the beginnings that prompts share change nothing."""
    asked = [
        Request(
            f"3/{word}",
            prompt=f"{STORY * 4}The {word}: café, 東京.",
            max_tokens=1,
            prompt_logprobs=alternatives,
        )
        for word in WORDS
    ]
    for served, own in both(server, *asked):
        assert_equal(served.prompt, own.prompt)
        assert served.usage.prompt_tokens == own.usage.prompt_tokens


def test_a_reply_ends_at_the_same_text(server: Server) -> None:
    """What ends it is left out."""
    asked = chat("4/0", "What was it?", max_tokens=30)
    ((whole, _),) = both(server, asked)
    ((served, own),) = both(server, replace(asked, stop=(whole.text[9:12], whole.text[20:22])))
    assert (served.text, served.finish_reason) == (own.text, own.finish_reason)
    assert served.usage.completion_tokens == own.usage.completion_tokens
    assert len(served.text) < len(whole.text)


def test_choices_have_the_same_shares(server: Server) -> None:
    """Among what the form allows, and the end after it."""
    asked = [chat(f"5/{word}", f"Is it the {word}?", choices=("0", "1"), top_logprobs=5) for word in WORDS]
    for served, own in both(server, *asked):
        assert_equal(served.completion, own.completion)
        assert (served.text, served.finish_reason) == (own.text, own.finish_reason)


def test_json_is_written_alike(server: Server) -> None:
    """Without white space."""
    labels = {"type": "array", "items": {"enum": [0, 1]}, "minItems": 3, "maxItems": 3}
    schema = {"type": "object", "properties": {"a": labels, "b": labels}, "required": ["a", "b"]}
    schema["additionalProperties"] = False
    for served, own in both(server, chat("6/0", "Say it.", schema=json.dumps(schema), max_tokens=80)):
        for text in (served.text, own.text):
            assert json.dumps(json.loads(text), separators=(",", ":")) == text


def test_verdicts_have_the_same_probabilities(server: Server) -> None:
    """A list of labels, read as a scorer reads it, for as long as both have said the same."""
    scorer = Detection(kind="detection", reader="r", shown=5, logprobs=True)
    whole = scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", HARBOUR)
    # Without the few-shot turns, which are too many tokens for the little model.
    asked = [replace(item, messages=(item.messages[0], item.messages[-1])) for item in whole]
    compared = 0
    for request, (served, own) in zip(asked, both(server, *asked), strict=True):
        rows = (read_judgements(scorer, _outcome(request, reply)) for reply in (served, own))
        for theirs, ours in zip(*rows, strict=True):
            assert ours.probability == pytest.approx(theirs.probability, abs=BOUND)
            compared += 1
            if theirs.verdict != ours.verdict:
                break
    assert compared >= len(asked)


def _outcome(request: Request, reply: Reply) -> Outcome:
    return Outcome(request, reply, None, "", "", 1, latency=0.0)
