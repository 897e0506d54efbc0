"""Bytes as replies, in both of the shapes that servers use."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.llm.openai import decode as answers
from tasks.llm.openai.decode import DeclinedReply, FieldIgnored, ServerFault, own_words
from tasks.llm.request import Message, Reply, Request, TokenLogprob, Usage

CHAT = (Message("system", "Judge."), Message("user", "Is it so?"))


def decode(request: Request, body: bytes) -> Reply:
    (reply,) = answers.decode((request,), body)
    assert isinstance(reply, Reply)
    return reply


def chat(**choice: Any) -> bytes:
    whole = {"finish_reason": "stop", "message": {"content": "yes"}} | choice
    return json.dumps({"choices": [whole]}).encode()


def completion(**choice: Any) -> bytes:
    whole = {"finish_reason": "stop", "text": "yes"} | choice
    return json.dumps({"choices": [whole]}).encode()


def test_a_chat_reply_is_read_with_its_usage() -> None:
    """Cached tokens are those that the server's prefix cache held."""
    body = json.loads(chat()) | {
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 4},
        }
    }
    reply = decode(Request("a", messages=CHAT), json.dumps(body).encode())
    assert reply == Reply("yes", "stop", Usage(9, 4, 1))


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens_details": None}])
def test_usage_that_the_server_does_not_tell_is_null(usage: object) -> None:
    """A missing count is not zero."""
    body = json.loads(completion()) | {"usage": usage}
    reply = decode(Request("a", prompt="once"), json.dumps(body).encode())
    assert reply.usage == Usage(None, None, None)


@pytest.mark.parametrize("kind", ["chat", "prompt"])
def test_a_list_is_shared_by_length_and_its_cached_tokens_are_not_known(kind: str) -> None:
    """The sums are kept; what vLLM says is cached is of the last prompt alone, and of chats it says nothing."""
    words = ("one", "of three times the length")
    asked = [
        Request(word, messages=(Message("user", word),)) if kind == "chat" else Request(word, prompt=word)
        for word in words
    ]
    message = {"message": {"content": "yes"}} if kind == "chat" else {"text": "yes"}
    body = {
        "choices": [{"index": place, "finish_reason": "stop", **message} for place in (1, 0)],
        "usage": {
            "prompt_tokens": 29,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 16},
        },
    }
    replies = answers.decode(asked, json.dumps(body).encode())
    shares = [reply.usage for reply in replies if isinstance(reply, Reply)]
    assert len(shares) == len(asked)
    assert [usage.cached_tokens for usage in shares] == [None, None]
    assert sum(usage.prompt_tokens or 0 for usage in shares) == 29
    assert sum(usage.completion_tokens or 0 for usage in shares) == 5
    assert (shares[1].prompt_tokens or 0) > 4 * (shares[0].prompt_tokens or 0)


@pytest.mark.parametrize("places", [[0, 1], [0, 1, 2, 3], [0, 0, 1]])
def test_a_list_that_is_not_answered_as_a_whole_is_no_answer(places: list[int]) -> None:
    """A reply that is missing, or given twice, leaves open whose the others are."""
    asked = [Request(str(n), messages=CHAT) for n in range(3)]
    choices = [
        {"index": place, "finish_reason": "stop", "message": {"content": str(place)}} for place in places
    ]
    with pytest.raises(FieldIgnored, match="3 requests were given"):
        answers.decode(asked, json.dumps({"choices": choices}).encode())


def test_a_reply_cut_at_its_longest_is_a_reply() -> None:
    """Length is a finish like stop; whether the text can be read is for the scorer to say."""
    reply = decode(Request("a", prompt="once"), completion(finish_reason="length"))
    assert reply.finish_reason == "length"


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
    ],
)
def test_a_whole_reply_may_be_called_so_in_other_words(message: str, read: str) -> None:
    """TGI's older route has its own, and other APIs theirs."""
    assert decode(Request("a", messages=CHAT), chat(finish_reason=message)).finish_reason == read


@pytest.mark.parametrize("message", ["content_filter", "tool_calls", "function_call", "whatever comes next"])
def test_a_reply_that_the_server_ended_itself_is_none(message: str) -> None:
    """It is no fault that another try would mend; the others of a list stay."""
    whole = {"index": 0, "finish_reason": "stop", "text": "yes"}
    body = json.dumps({"choices": [whole, whole | {"index": 1, "finish_reason": message}]}).encode()
    first, second = answers.decode([Request("a", prompt="once"), Request("b", prompt="twice")], body)
    assert isinstance(first, Reply)
    assert isinstance(second, DeclinedReply)
    assert f"finish_reason {message}," in second.reason


def test_a_chat_reply_without_content_is_empty() -> None:
    """Reasoning models that run out of tokens answer null."""
    body = chat(message={"content": None}, finish_reason="length")
    assert decode(Request("a", messages=CHAT), body).text == ""


def test_chat_log_probabilities_are_read() -> None:
    """Each generated token comes with the alternatives listed for it."""
    position = {
        "token": "yes",
        "logprob": -0.5,
        "top_logprobs": [{"token": "yes", "logprob": -0.5}, {"token": "no", "logprob": -1.0}],
    }
    body = chat(logprobs={"content": [position]})
    reply = decode(Request("a", messages=CHAT, top_logprobs=2), body)
    assert reply.completion == (TokenLogprob("yes", -0.5, {"yes": -0.5, "no": -1.0}),)


def test_completion_log_probabilities_are_read() -> None:
    """The three parallel lists of the completions route become tokens."""
    logprobs = {
        "tokens": ["y", "es"],
        "token_logprobs": [-0.5, -0.25],
        "top_logprobs": [{"y": -0.5, "n": -1.0}, {"es": -0.25}],
    }
    reply = decode(Request("a", prompt="once", top_logprobs=2), completion(logprobs=logprobs))
    assert reply.completion == (
        TokenLogprob("y", -0.5, {"y": -0.5, "n": -1.0}),
        TokenLogprob("es", -0.25, {"es": -0.25}),
    )


def test_no_alternatives_come_where_none_were_asked_for() -> None:
    """The server lists the token itself even then."""
    logprobs = {"tokens": ["y"], "token_logprobs": [-0.5], "top_logprobs": [{"y": -0.5}]}
    reply = decode(Request("a", prompt="once", top_logprobs=0), completion(logprobs=logprobs))
    assert reply.completion == (TokenLogprob("y", -0.5, {}),)


def test_of_alternatives_with_one_text_the_likeliest_stands() -> None:
    """Several token ids may be written alike."""
    top = [{"token": "\ufffd", "logprob": -2.0}, {"token": "\ufffd", "logprob": -1.0}]
    position = {"token": "a", "logprob": -0.5, "top_logprobs": top}
    body = chat(logprobs={"content": [position]})
    reply = decode(Request("a", messages=CHAT, top_logprobs=2), body)
    assert reply.completion[0].top == {"\ufffd": -1.0}


PROMPT = [
    None,
    {
        "900": {"logprob": -9.0, "rank": 57, "decoded_token": " upon"},
        "5": {"logprob": -0.5, "rank": 1, "decoded_token": " more"},
        "6": {"logprob": -1.5, "rank": 2, "decoded_token": " again"},
    },
]


@pytest.mark.parametrize("route", ["chat", "completion"])
def test_prompt_log_probabilities_are_read(route: str) -> None:
    """The prompt's own token is the first listed; it is an alternative only if it ranks as one."""
    if route == "chat":
        request = Request("a", messages=CHAT, prompt_logprobs=2)
        body = json.dumps(json.loads(chat()) | {"prompt_logprobs": PROMPT}).encode()
    else:
        request = Request("a", prompt="once upon", prompt_logprobs=2)
        body = completion(prompt_logprobs=PROMPT)
    assert decode(request, body).prompt == (
        TokenLogprob("", None, {}),
        TokenLogprob(" upon", -9.0, {" more": -0.5, " again": -1.5}),
    )


def test_a_prompt_of_likeliest_tokens_counts_its_own_among_the_alternatives() -> None:
    """A token that ranks first is its own alternative."""
    entry = {"5": {"logprob": -0.5, "rank": 1, "decoded_token": " more"}}
    body = completion(prompt_logprobs=[None, entry])
    reply = decode(Request("a", prompt="once more", prompt_logprobs=1), body)
    none = decode(Request("a", prompt="once more", prompt_logprobs=0), body)
    assert reply.prompt[1] == TokenLogprob(" more", -0.5, {" more": -0.5})
    assert none.prompt[1] == TokenLogprob(" more", -0.5, {})


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (Request("a", messages=CHAT, top_logprobs=2), chat()),
        (Request("a", messages=CHAT, top_logprobs=2), chat(logprobs={"content": None})),
        (Request("a", messages=CHAT, top_logprobs=2), chat(logprobs={"content": []})),
        (
            Request("a", messages=CHAT, top_logprobs=2),
            chat(logprobs={"content": [{"token": "y", "logprob": -1}]}),
        ),
        (Request("a", messages=CHAT, prompt_logprobs=0), chat()),
        (Request("a", prompt="once", top_logprobs=0), completion(logprobs=None)),
        (
            Request("a", prompt="once", top_logprobs=1),
            completion(logprobs={"tokens": ["y"], "token_logprobs": [-1.0]}),
        ),
        (Request("a", prompt="once", prompt_logprobs=0), completion(prompt_logprobs=[])),
    ],
)
def test_missing_log_probabilities_are_never_silently_empty(request_: Request, body: bytes) -> None:
    """Servers that do not know a field answer 200 without it."""
    with pytest.raises(FieldIgnored, match="the server ignored"):
        decode(request_, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"finish_reason": "stop", "text": 3}]}',
        b'{"choices": [{"finish_reason": "stop", "te',
        b"\xff\xfe",
        completion(finish_reason="abort"),
        completion(finish_reason=None),
        completion(finish_reason="error"),
        completion(logprobs={"tokens": ["y"], "token_logprobs": []}),
    ],
)
def test_a_body_that_is_no_finished_reply_is_the_servers_fault(body: bytes) -> None:
    """Success is more than status 200."""
    with pytest.raises(ServerFault):
        decode(Request("a", prompt="once", top_logprobs=0), body)


@settings(max_examples=40)
@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_no_body_whatever_breaks_the_reading(body: bytes) -> None:
    """Bytes are read or refused by name; nothing else is raised."""
    with pytest.raises(ServerFault):
        decode(Request("a", prompt="once"), body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"error": "Unauthorized"}', "Unauthorized"),
        (b'{"object": "error", "message": "no such\\n model"}', "no such model"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": 1}]}', '{"detail": [{"loc": 1}]}'),
        (b"<h1>Bad\n gateway</h1>", "<h1>Bad gateway</h1>"),
        (b"\xff", "\ufffd"),
        (b"[" * 100_000, "[" * 100_000),
        (b"", ""),
    ],
)
def test_a_servers_own_words_are_found(body: bytes, words: str) -> None:
    """Servers and proxies wrap their message in different ways."""
    assert own_words(body) == words
