"""What the ledger says of requests that were asked again in halves."""

import pytest

from tasks.llm.request import Outcome, Reply, Request, half_key
from tasks.llm.request_log import RequestOrigin, Unanswered, check_answered, request_rows

ASKED = RequestOrigin("toy", "score", "e/detection", "judge")


def outcome(key: str, reason: str | None = None) -> Outcome:
    reply = None if reason else Reply("[1]")
    return Outcome(Request(key, prompt=key), reply, reason, "here", "m", 1, 0.0, too_long=bool(reason))


WHOLE, FIRST, SECOND = "7/0/none/0", half_key("7/0/none/0", 1), half_key("7/0/none/0", 2)


def test_a_request_that_was_asked_again_has_not_failed() -> None:
    """It keeps its reason, and has a status of its own; one that nobody asked again has failed."""
    outcomes = [outcome(WHOLE, "too long"), outcome(FIRST), outcome(SECOND, "also too long")]
    rows = request_rows(ASKED, outcomes)
    assert [
        (WHOLE, "halved", "too long"),
        (FIRST, "ok", None),
        (SECOND, "failed", "also too long"),
    ] == [(row["request"], row["status"], row["reason"]) for row in rows]


def test_failures_that_were_mended_are_none_of_the_endpoints() -> None:
    """A bucket of which all was too long at first is committed; one of which nothing was answered is not."""
    mended = [outcome(WHOLE, "too long"), outcome(FIRST), outcome(SECOND)]
    check_answered(mended, "detection")
    lost = [outcome(WHOLE, "too long"), outcome(FIRST, "so is this"), outcome(SECOND, "and this")]
    with pytest.raises(
        Unanswered, match=r"none of 2 requests of detection got a reply \(the first: so is this\)"
    ):
        check_answered(lost, "detection")


@pytest.mark.parametrize(
    ("reply", "finish_reason"),
    [
        (Reply("[1]"), "stop"),
        (Reply("[1", "length"), "length"),
        (None, None),
        (Reply("", vectors=((0.5,),)), None),
        (Reply("", parts=(Reply("1", "length"),)), None),
    ],
)
def test_a_row_says_why_its_reply_ended(reply: Reply | None, finish_reason: str | None) -> None:
    """Null where there is no reply, or none with an end of its own."""
    result = Outcome(Request("7/0", prompt="x"), reply, None if reply else "503", "here", "m", 1, 0.0)
    assert finish_reason == request_rows(ASKED, [result])[0]["finish_reason"]
