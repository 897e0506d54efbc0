"""Where replies state their answers."""

from contextlib import suppress
from time import process_time
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.explainers.exemplars import Exemplars
from tasks.llm.request import Message, Reply, Request, TokenLogprob, Unreadable
from tasks.scorers import logprobs
from tasks.scorers.detection import Detection
from tasks.scorers.intruder import Intruder
from tasks.scorers.reply_text import Wanted, stated
from tasks.scorers.saebench import SAEBench

LIST = Detection(kind="detection", reader="r")
DIGIT = Detection(kind="detection", reader="r", shown=1)
CHOICE = Intruder(kind="intruder", reader="r")
WINDOWS = SAEBench(kind="saebench", reader="r")
Finish = Literal["stop", "length"]


def asked(contexts: int, right: int | None = None) -> Request:
    return Request(
        "k",
        messages=(Message("user", "x"),),
        contexts=tuple(range(contexts)),
        truths=(True,) * contexts,
        right=right,
    )


def verdicts(scorer: Detection | Intruder | SAEBench, text: str, finish: Finish = "stop") -> list[int]:
    """What a scorer reads; the choice is right where it is 3."""
    request = asked({LIST: 5, WINDOWS: 14}.get(scorer, 1), 3 if scorer is CHOICE else None)
    return [int(bool(row.verdict)) for row in scorer.read(request, Reply(text, finish))]


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("Answer: [1, 0, 1, 0, 0]", "stop"),
        ("So the answer is [1, 0, 1, 0, 0], since the first speaks of boats.", "stop"),
        ('```json\n{"answer": [1, 0, 1, 0, 0]}\n```', "stop"),
        (r"\boxed{[1, 0, 1, 0, 0]}", "stop"),
        ("Example 1: 1\nExample 2: 0\n\n[1, 0, 1, 0, 0]", "stop"),
        ("**Final answer:** [1, 0, 1, 0, 0]\n\nI first thought of [1, 1, 1, 1, 1].", "stop"),
        ("[1, 0, 1, 0, 0]\n\nI first considered [1, 1, 1, 1, 1], but no.", "stop"),
        ("[1, 0, 1, 0, 0]\n\nA broader reading would give [1, 1, 1, 1, 1].", "stop"),
        ("[1, 0, 1, 0, 0]\n\nRead broadly:\n[1, 1, 1, 1, 1]", "stop"),
        ("[1, 0, 1, 0, 0], so it fits [1]", "stop"),
        ("[1, 1, 1, 1, 1]\nWait, no.\n[1, 0, 1, 0, 0]", "stop"),
        ("[1, 1, 1, 1, 1]\n\nLet me check.\nAnswer: [1, 0, 1, 0, 0]", "stop"),
        ("[1, 1, 1, 1, 1]\n\nWait, the second has none. Corrected: [1, 0, 1, 0, 0]", "stop"),
        ("[1, 0, 1, 0, 0,]", "stop"),
        ("1, 0, 1, 0, 0", "stop"),
        ("(1, 0, 1, 0, 0)", "stop"),
        ("Answer: 1, 0, 1, 0, 0", "stop"),
        ("[1, 0, 1, 0, 0]<|im_end|>\n<|im_start|>assistant\n[1, 1, 1, 1, 1]", "stop"),
        ("[1, 0, 1, 0, 0]\n\nDescription: Boats.\n\nExample 1: a sail\n\n[0, 0, 0, 0, 0]", "stop"),
        ("<think>\n[1, 1, 1, 1, 1]\n</think>\n[1, 0, 1, 0, 0]", "stop"),
        ("[1, 0, 1, 0, 0]\n\nExample 1 fits since", "length"),
        ("Here are the verdicts:\n\n[1, 0, 1, 0, 0]\n\nExample 1 fits since", "length"),
    ],
)
def test_the_list_that_is_the_answer_counts(text: str, finish: Finish) -> None:
    """After a label, alone, or first; never a quoted one after it."""
    assert [1, 0, 1, 0, 0] == verdicts(LIST, text, finish)


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("Either [1, 0, 1, 0, 0] or [1, 1, 1, 1, 1] could be.", "stop", "answers that differ"),
        ("Answer: [1, 0, 1, 0, 0]\nAnswer: [1, 1, 1, 1, 1]\nHm.", "stop", "answers that differ"),
        ("It could be [1, 1, 1, 1, 1], but example 3", "length", "cut off at max_tokens"),
        ("Let me think.\n[1, 1, 1, 1, 1]\nHm, example", "length", "cut off at max_tokens"),
        ("<think>\nIt could be [1, 1, 1, 1, 1], but example 3", "length", "cut off inside its thoughts"),
    ],
)
def test_a_list_that_may_be_another_is_no_answer(text: str, finish: Finish, reason: str) -> None:
    """Drafts of a reply that was cut off, and lists that contradict each other."""
    with pytest.raises(Unreadable, match=reason):
        verdicts(LIST, text, finish)


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("Answer: 3", "stop"),
        ("The answer is 3.", "stop"),
        ("**3**", "stop"),
        ("**Answer: Example 3**", "stop"),
        ("Answer: 3, since it rains.", "stop"),
        ("**Answer:**\n\n3\n\n**Explanation:** the others are of boats.", "stop"),
        ("The others are of boats, so the answer is 3.", "stop"),
        ("It is not 4.\nThe odd one out is 3.", "stop"),
        ("The example that does not belong is 3.", "stop"),
        ("The example that doesn\u2019t belong is **Example 3**, because the marks are arbitrary.", "stop"),
        ("The number of the example that does not belong is 3.", "stop"),
        ("The example that fits the description most exactly is 3.", "stop"),
        ("Example 3 does not belong.", "stop"),
        ("Example 3 is the one that does not belong.", "stop"),
        ("**Example 3** is the intruder, for nothing floats in it.", "stop"),
        ("Answer: 3 (it does not speak of boats)", "stop"),
        ("3<|eot_id|>", "stop"),
        ("3</s>", "stop"),
        ("3<end_of_turn>\n<start_of_turn>user\nAnswer: 4", "stop"),
        ("They have <|im_end|>\nAnswer: 3", "stop"),
        ("The intruder is example 3.", "stop"),
        ('{"answer": 3}', "stop"),
        (r"\boxed{3}", "stop"),
        ("3\n\nExamples 1, 2, 4 and 5 are of boats.", "stop"),
        ("<think>Perhaps 4.\nAnswer: 4</think>3", "stop"),
        ("Answer: 3\n\nThe others", "length"),
        ("3", "length"),
    ],
)
def test_a_number_that_is_stated_counts(text: str, finish: Finish) -> None:
    """Alone or after a label."""
    assert [1] == verdicts(CHOICE, text, finish)
    assert [0] == verdicts(CHOICE, text.replace("3", "2"), finish)


@pytest.mark.parametrize(
    ("text", "finish"),
    [
        ("Answer: 3 or 4", "stop"),
        ("3 and 4", "stop"),
        ("Answer: 3\nAnswer: 4\nHm.", "stop"),
        ("The answer is 3? No, 4", "stop"),
        ("The answer is not 3.", "stop"),
        ("Answer: 3, not sure", "stop"),
        ("The example that does not belong is not 3.", "stop"),
        ("The examples that fit are 1, 2, 4 and 5.", "stop"),
        ("Example 3 is the intruder?", "stop"),
        ("Example 3 is the intruder, or 4 is.", "stop"),
        ("Example 3 does not belong.\nExample 4 does not belong.", "stop"),
        ("Answer: 3.5", "stop"),
        ("Answer:\n3. boats\n4. rain\n\nHm.", "stop"),
        ("1\n2\n3", "stop"),
        ("Answer: 7", "stop"),
        ("Let me see.\n3", "length"),
        ("Perhaps the answer is 3", "length"),
        ("<think>\n3", "length"),
    ],
)
def test_a_number_that_may_mean_something_else_is_no_answer(text: str, finish: Finish) -> None:
    """Several, a list's own numbers, the end of what was cut off."""
    with pytest.raises(Unreadable, match=r"the reply to k"):
        verdicts(CHOICE, text, finish)


@pytest.mark.parametrize(
    ("text", "finish", "verdict"),
    [
        ("Answer: 1", "stop", 1),
        ("The verdict is 0.", "stop", 0),
        ("1\n\nIt is of boats.", "stop", 1),
        ("1", "length", 1),
    ],
)
def test_a_digit_that_is_stated_counts(text: str, finish: Finish, verdict: int) -> None:
    """As a choice does."""
    assert [verdict] == verdicts(DIGIT, text, finish)


@pytest.mark.parametrize("text", ["<think>\nSteps:\n1", "Steps:\n1"])
def test_the_number_of_a_step_is_no_verdict(text: str) -> None:
    """Where the reply was cut off there."""
    with pytest.raises(Unreadable, match="cut off"):
        verdicts(DIGIT, text, "length")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Answer: [2, 3]", {2, 3}),
        ("The answer is 2, 3 and 5.", {2, 3, 5}),
        ("Examples 2, 3", {2, 3}),
        ("Answer: none", set()),
        ("[2, 3]\n\nI left out [5].", {2, 3}),
    ],
)
def test_windows_that_are_stated_count(text: str, numbers: set[int]) -> None:
    """In brackets or after a label, and not what is quoted after them."""
    assert [int(number in numbers) for number in range(1, 15)] == verdicts(WINDOWS, text)


def test_windows_that_were_cut_off_are_no_answer() -> None:
    """A list without brackets may have been longer."""
    with pytest.raises(Unreadable, match="cut off at max_tokens"):
        verdicts(WINDOWS, "2, 3", "length")


@pytest.mark.parametrize(
    "again",
    [
        "\n",
        " \n",
        "the ",
        "answer: ",
        "<think>",
        "</think> ",
        "<<",
        "[1, 0, 1, 0, 1] ",
        "EXPLANATION: a\n",
        "Description: a\n",
    ],
)
@pytest.mark.parametrize("begin", ["", "EXPLANATION: "])
def test_readers_that_repeat_themselves_for_ever_are_read_at_once(begin: str, again: str) -> None:
    """The time goes with the length of a reply and not with its square, which would take ten times as long."""
    reply = Reply(begin + again * (20_000 // len(again)))
    started = process_time()
    for scorer in (LIST, CHOICE, WINDOWS, Exemplars(kind="exemplars", reader="r")):
        with suppress(Unreadable):
            scorer.read(asked(5, 3), reply)
    assert process_time() - started < 2


LABELS = st.lists(st.sampled_from([0, 1]), min_size=5, max_size=5)


@settings(max_examples=50, deadline=None)
@given(labels=LABELS, quoted=LABELS, words=st.text("abc defg.,", max_size=40))
def test_an_afterthought_never_overrides_the_answer(labels: list[int], quoted: list[int], words: str) -> None:
    """Whatever list it quotes within a sentence."""
    assert labels == verdicts(LIST, f"{labels}\n\nRead {words} broadly it would be {quoted}.")
    assert labels == verdicts(LIST, f"{words}\nAnswer: {labels}\nRead broadly: {quoted} {words}")


@settings(max_examples=50, deadline=None)
@given(labels=LABELS, thoughts=st.text(max_size=60), finish=st.sampled_from(["stop", "length"]))
def test_thoughts_never_change_a_verdict(labels: list[int], thoughts: str, finish: Finish) -> None:
    """Whatever list or label stands in them."""
    text = f"<think>{thoughts}\nAnswer: [1, 1, 1, 1, 1]\n</think>\n{labels}"
    assert labels == verdicts(LIST, text, finish)


def test_probabilities_are_those_of_the_answer() -> None:
    """Not of a list that is written alike in thoughts before it, or in what follows."""
    pieces = [
        "[1, 0]",
        "</think>",
        "[",
        "1",
        ", ",
        "0",
        "]",
        " and not ",
        "[1, 1]",
        " or ",
        "[1, 0]",
        "<|end|>",
    ]
    text = "[1, 0] and not [1, 1] or [1, 0]"
    result = stated(Reply(text), "k", Wanted("list", brackets=r"\[[01], [01]\]"))
    made = tuple(TokenLogprob(piece, -0.1, {piece: -0.1}) for piece in pieces)
    place = logprobs.place_of(result, Reply(text, completion=made), "k")
    assert "".join(pieces).index("[", 7) == place
