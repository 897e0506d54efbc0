"""The API key is sent and is otherwise nowhere."""

import json
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tasks.llm.base import EndpointRefused
from tasks.llm.openai.api_key import Secret

PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)
KEYS = st.text(PRINTABLE, min_size=8, max_size=40)


@given(key=KEYS, before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_key_is_cut_out_of_any_words(key: str, before: str, after: str) -> None:
    """However it is written: plainly, in JSON or in an address."""
    assume(key not in "[API key]")
    secret = Secret(key, "KEY")
    for spelling in (key, json.dumps(key), quote(key, safe="")):
        scrubbed = secret.scrub(before + spelling + after)
        assert key not in scrubbed.replace("[API key]", " ")
        assert key.encode() not in secret.scrub_body(spelling.encode())


@given(KEYS)
def test_a_key_does_not_show(key: str) -> None:
    """Neither printing nor formatting gives it away."""
    secret = Secret(key, "KEY")
    assert repr(secret) == str(secret) == "Secret()"


def test_placeholder_keys_leave_words_alone() -> None:
    """Keys too short to be secret are not cut out of every word."""
    assert Secret("a", "KEY").scrub("a bad day") == "a bad day"


def test_no_key_means_no_header() -> None:
    """An empty variable is as good as none."""
    assert Secret("", "KEY").headers == {}
    assert Secret(" k \n", "KEY").headers == {"Authorization": "Bearer k"}


@pytest.mark.parametrize("key", ["hunter22\nhunter33", "hunter22é", "hunter22\x00"])
def test_a_key_that_cannot_be_sent_is_refused_unquoted(key: str) -> None:
    """The complaint names the variable and not what it holds."""
    with pytest.raises(EndpointRefused, match="MY_KEY") as refused:
        Secret(key, "MY_KEY")
    assert "hunter" not in str(refused.value)
