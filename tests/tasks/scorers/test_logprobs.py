"""Probabilities of digits from the alternatives at the tokens that held them."""

import json
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.request import Outcome, Reply, RequestKey, TokenLogprob, Unreadable
from tasks.scorers import logprobs
from tasks.scorers.base import read_judgements
from tasks.scorers.detection import Detection
from tasks.scorers.fuzzing import Fuzzing
from tests.tasks.toys import HARBOUR, LIGHTHOUSE, spelled

LISTS = Detection(kind="detection", reader="r", logprobs=True, shown=3)
END = "<|end|>"
"""A token that ends the turn and is no part of the text."""
MARKED = Fuzzing(kind="fuzzing", reader="r", logprobs=True, shown=3)
BOTH = pytest.mark.parametrize("scorer", [LISTS, MARKED], ids=["detection", "fuzzing"])


def token(text: str, **top: float) -> TokenLogprob:
    """A token with the probabilities of its alternatives."""
    known = {message: log(share) for message, share in (top or {text: 1.0}).items()}
    return TokenLogprob(text, known.get(text, log(0.01)), known)


def reply(*tokens: TokenLogprob) -> Reply:
    text = "".join(token.token for token in tokens)
    return Reply(text.removesuffix(END), completion=tokens)


@BOTH
def test_they_are_asked_for_only_where_they_are_wanted(scorer: Detection | Fuzzing) -> None:
    """Off by default, since not all servers give them."""
    assert {logprobs.ALTERNATIVES} == {
        request.top_logprobs for request in scorer.requests(RequestKey(7, 0, "none"), "x", LIGHTHOUSE)
    }
    without = type(scorer).model_validate({"kind": scorer.kind, "reader": "r"})
    assert {None} == {
        request.top_logprobs for request in without.requests(RequestKey(7, 0, "none"), "x", LIGHTHOUSE)
    }


@pytest.mark.parametrize(
    "tokens",
    [
        ("[", "0", ",", " ", "1", ",", " ", "1", "]"),
        ("[", "0", ", ", "1", ", ", "1", "]"),
        ("[", "0", ",", " 1", ",", " 1", "]"),
        ("[0", ",", " 1", ",", " 1]"),
        ("[0,", " 1,", " 1]", "\n"),
        ("So: ", "[", "1", "]", " or ", "[0", ", 1", ", 1", "]", END),
        ("[0, 1", ", 1]"),
        ("[0, 1, 1]",),
    ],
)
def test_digits_are_found_in_whatever_tokens_hold_them(tokens: tuple[str, ...]) -> None:
    """Alternatives that differ in one digit give its probability, though others stand in the same token."""
    text = "".join(tokens)
    places = [text.rindex("[0") + 1 + offset for offset in (0, 3, 6)]
    shown, start = [], 0
    for item in tokens:
        top = {item: 0.9}
        for place in places:
            if start <= place < start + len(item):
                position = place - start
                top[f"{item[:position]}{1 - int(item[position])}{item[position + 1 :]}"] = 0.1
        shown.append(token(item, **top))
        start += len(item)
    shares = logprobs.probabilities(reply(*shown), places, ("0", "1"))
    total = {"[0, 1, 1]": (0.1, 0.9, 0.9), "[0, 1": (0.1, 0.9, 0.9)}
    if tokens[0] in total:
        # Alternatives that differ in another place have the same digit here.
        assert all(share["1"] == pytest.approx(0.1, abs=0.03) or share["1"] > 0.85 for share in shares)
    else:
        assert [pytest.approx(0.1), pytest.approx(0.9), pytest.approx(0.9)] == [
            share["1"] for share in shares
        ]


def test_alternatives_that_mean_the_same_digit_are_summed() -> None:
    """With and without a blank, a bracket or a comma; numbers and words mean neither digit."""
    top = {" 1": 0.3, "1": 0.1, " 1]": 0.2, " 0": 0.1, "0,": 0.05, " 10": 0.2, " one": 0.05}
    (shares,) = logprobs.probabilities(reply(token("["), token(" 1", **top), token("]")), [2], ("0", "1"))
    assert {"0": pytest.approx(0.15 / 0.75), "1": pytest.approx(0.6 / 0.75)} == shares


def test_what_was_sampled_counts_though_it_is_no_alternative() -> None:
    """A server may list the likeliest tokens alone."""
    item = TokenLogprob("0", log(0.2), {"1": log(0.6)})
    (shares,) = logprobs.probabilities(reply(item), [0], ("0", "1"))
    assert {"0": pytest.approx(0.25), "1": pytest.approx(0.75)} == shares


def test_a_masked_alternative_counts_for_nothing() -> None:
    """Servers give it a log-probability of -9999 or minus infinity."""
    for masked in (-9999.0, -float("inf")):
        item = TokenLogprob("1", 0.0, {"1": 0.0, "0": masked})
        assert [{"0": 0.0, "1": 1.0}] == logprobs.probabilities(reply(item), [0], ("0", "1"))
        nothing = TokenLogprob("1", masked, {})
        with pytest.raises(Unreadable, match="none of 0, 1 is probable"):
            logprobs.probabilities(reply(nothing), [0], ("0", "1"))


@BOTH
@given(
    verdicts=st.lists(st.booleans(), min_size=3, max_size=3),
    sure=st.floats(0.51, 0.99),
)
def test_each_verdict_has_the_probability_of_its_digit(
    scorer: Detection | Fuzzing, verdicts: list[bool], sure: float
) -> None:
    """P(1) / (P(0) + P(1)), whatever was answered elsewhere."""
    request = scorer.requests(RequestKey(7, 0, "none"), "x", LIGHTHOUSE)[0]
    text = json.dumps([int(verdict) for verdict in verdicts])
    rows = scorer.read(request, Reply(text, completion=spelled(text, ["0", "1"], sure)))
    assert verdicts == [row.verdict for row in rows]
    assert [pytest.approx(sure if verdict else 1 - sure) for verdict in verdicts] == [
        row.probability for row in rows
    ]


def test_one_context_at_a_time_has_them_too() -> None:
    """The digit alone is the reply."""
    scorer = LISTS.model_copy(update={"shown": 1})
    request = scorer.requests(RequestKey(7, 0, "none"), "x", LIGHTHOUSE)[0]
    (row,) = scorer.read(request, reply(token(" 1", **{" 1": 0.6, "0": 0.2, "[": 0.2}), token(END)))
    assert (True, pytest.approx(0.75)) == (row.verdict, row.probability)


@BOTH
def test_a_server_that_gave_none_fails_its_contexts(scorer: Detection | Fuzzing) -> None:
    """Nobody guesses a probability from a verdict."""
    request = scorer.requests(RequestKey(7, 0, "none"), "x", HARBOUR)[0]
    rows = read_judgements(scorer, Outcome(request, Reply("[0, 1, 1]"), None, "here", "m", 1, 0.0))
    assert request.contexts == tuple(row.context for row in rows)
    assert {(None, None)} == {(row.verdict, row.probability) for row in rows}
    assert all("no log-probabilities came with the reply" in (row.reason or "") for row in rows)


def test_tokens_that_spell_something_else_fail() -> None:
    """Probabilities of other answers are none of these."""
    request = LISTS.requests(RequestKey(7, 0, "none"), "x", LIGHTHOUSE)[0]
    other = Reply("[0, 1, 1]", completion=spelled("[0, 0, 1]", ["0", "1"], 0.9))
    with pytest.raises(Unreadable, match="don't spell its answer"):
        LISTS.read(request, other)
