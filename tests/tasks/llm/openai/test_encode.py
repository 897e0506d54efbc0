"""Requests as bytes, on every route that servers have."""

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.openai.encode import CHATS, PROMPTS, alike, encode, held
from tasks.llm.request import LONGEST_LIST, Message, Request, Structured

CHAT = (Message("system", "Judge."), Message("user", "Is it so?"))


def sent(request: Request) -> tuple[str, dict[str, Any]]:
    call = encode((request,), "tiny")
    return call.path, json.loads(call.body)


def test_a_chat_request_is_sent_with_all_that_decides_the_reply() -> None:
    """Temperature and length go along even at their defaults, which servers would fill otherwise."""
    assert sent(Request("a", messages=CHAT)) == (
        "/chat/completions",
        {
            "model": "tiny",
            "temperature": 0.0,
            "max_tokens": 500,
            "messages": [
                {"role": "system", "content": "Judge."},
                {"role": "user", "content": "Is it so?"},
            ],
        },
    )


def test_a_completion_request_is_sent_with_its_options() -> None:
    """Seed, stops and both kinds of log-probabilities have the names of the completions route."""
    request = Request(
        "a", prompt="once", seed=7, stop=("\n",), top_logprobs=5, prompt_logprobs=0, max_tokens=1
    )
    assert sent(request) == (
        "/completions",
        {
            "model": "tiny",
            "temperature": 0.0,
            "max_tokens": 1,
            "seed": 7,
            "stop": ["\n"],
            "logprobs": 5,
            "prompt_logprobs": 0,
            "prompt": "once",
        },
    )


def test_chat_asks_for_alternatives_with_two_fields() -> None:
    """Servers refuse top_logprobs without logprobs."""
    _, body = sent(Request("a", messages=CHAT, top_logprobs=0))
    assert (body["logprobs"], body["top_logprobs"]) == (True, 0)


def test_what_a_request_is_about_is_not_sent() -> None:
    """The right verdicts and the key stay here."""
    request = Request("secret-key", prompt="once", contexts=(12345,), truths=(True,))
    assert b"12345" not in encode((request,), "tiny").body
    assert b"true" not in encode((request,), "tiny").body
    assert b"secret-key" not in encode((request,), "tiny").body


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_valid_text_arrives_unchanged(text: str) -> None:
    """Whatever a corpus holds is what the server reads."""
    assert sent(Request("a", prompt=text))[1]["prompt"] == text


def test_text_that_is_not_unicode_is_refused() -> None:
    """Half a surrogate pair cannot be sent as UTF-8."""
    with pytest.raises(UnicodeEncodeError):
        encode((Request("a", prompt="\ud800"),), "tiny")


def test_several_chats_go_as_a_list_of_their_turns() -> None:
    """On a route of its own, with the settings that all of them have."""
    other = (Message("system", "Judge."), Message("user", "And this?"))
    asked = [Request(name, messages=turns, top_logprobs=2) for name, turns in (("a", CHAT), ("b", other))]
    call = encode(asked, "tiny", "structured_outputs")
    body = json.loads(call.body)
    assert call.path == CHATS
    assert body.pop("messages") == [sent(item)[1]["messages"] for item in asked]
    assert body == {
        "model": "tiny",
        "temperature": 0.0,
        "max_tokens": 500,
        "logprobs": True,
        "top_logprobs": 2,
    }


def test_chats_of_a_list_are_held_to_their_form_as_each_would_be() -> None:
    """In the same fields."""
    asked = [Request(name, messages=CHAT, choices=("0", "1")) for name in "ab"]
    body = json.loads(encode(asked, "tiny", "structured_outputs").body)
    assert body["structured_outputs"] == {"choice": ["0", "1"]}


@pytest.mark.parametrize(
    ("form", "field", "message"),
    [
        ({"choices": ("0", "1")}, "structured_outputs", {"choice": ["0", "1"]}),
        ({"pattern": "[01]+"}, "structured_outputs", {"regex": "[01]+"}),
        ({"schema": '{"type": "array"}'}, "structured_outputs", {"json": {"type": "array"}}),
        (
            {"schema": '{"type": "object"}'},
            "response_format",
            {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": {"type": "object"}, "strict": True},
            },
        ),
        ({"choices": ("0", "1")}, "response_format", None),
        ({"pattern": "[01]+"}, "response_format", None),
        ({"schema": '{"type": "array"}'}, "response_format", None),
        ({"schema": '{"type": "object"}'}, "plain", None),
    ],
)
def test_a_form_is_sent_in_the_servers_field(
    form: dict[str, Any], field: Structured, message: object
) -> None:
    """In none where that field takes no such form, and then that is what is recorded."""
    request = Request("a", messages=CHAT, **form)
    body = json.loads(encode((request,), "tiny", field).body)
    free = json.loads(encode((Request("a", messages=CHAT),), "tiny", field).body)
    assert body == free | ({} if message is None else {field: message})
    assert held(request, field) == ("plain" if message is None else field)


def test_a_reply_has_one_form() -> None:
    """Two would leave open which is meant."""
    with pytest.raises(ValueError, match="one of schema, choices and pattern"):
        Request("a", messages=CHAT, schema="{}", pattern="a")
    with pytest.raises(ValueError, match="one of schema, choices and pattern"):
        Request("a", messages=CHAT, choices=("a",), pattern="a")
    with pytest.raises(ValueError, match="only for one reply"):
        Request("a", texts=("a", "b"), pattern="a")


def test_another_pattern_is_another_question() -> None:
    """What was asked without one is found under the name that it had."""
    asked = [Request("a", messages=CHAT, pattern=pattern) for pattern in ("a", "b", None)]
    assert len({request.fingerprint for request in asked}) == 3
    assert asked[-1].digest == "ea925aca14aebcff"


ALIKE = tuple(
    kind
    for plain in (Request("a", messages=CHAT), Request("a", prompt="once"))
    for kind in (
        plain,
        replace(plain, seed=7),
        replace(plain, max_tokens=1),
        replace(plain, top_logprobs=2),
        replace(plain, prompt_logprobs=0),
        replace(plain, choices=("0", "1")),
        replace(plain, pattern="[01]"),
    )
)
"""A request of each kind that goes with no other kind."""


def listed(request: Request, routes: Collection[str]) -> bool:
    if request.prompt is not None:
        return PROMPTS in routes
    return CHATS in routes and request.prompt_logprobs is None


@given(
    st.lists(st.sampled_from(ALIKE), max_size=150),
    st.sets(st.sampled_from([PROMPTS, CHATS])),
    st.integers(1, LONGEST_LIST),
)
def test_only_what_has_a_route_and_equal_settings_shares_a_call(
    asked: list[Request], routes: set[str], longest: int
) -> None:
    """Each request is in one call, in order and none too long; chats with prompt log-probabilities go alone."""
    lists = alike(asked, routes, longest)
    assert sorted(place for places in lists for place in places) == list(range(len(asked)))
    for places in lists:
        assert list(places) == sorted(places)
        assert len({asked[place] for place in places}) == 1
        assert len(places) <= (longest if listed(asked[places[0]], routes) else 1)
    # As few calls as that allows.
    for kind in set(asked):
        calls, count = sum(asked[places[0]] == kind for places in lists), asked.count(kind)
        assert calls == (-(-count // longest) if listed(kind, routes) else count)
