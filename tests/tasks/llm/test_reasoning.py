"""What of a reply counts as its answer: never what stands among its thoughts."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks
from tasks.llm.reasoning import answer, tokens
from tasks.llm.request import Reply, TokenLogprob, Unreadable

TAGS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysisWe see: ", "assistantfinal"),
]
EACH = pytest.mark.parametrize(("opening", "closing"), TAGS)
PROSE = st.text(max_size=80) | st.sampled_from(
    [
        "EXPLANATION: nouns.",
        "[1, 1, 1]",
        "3",
        "The tag </think> or <think>",
        'A "</think>".',
        "\n\nAnswer: 2\n",
    ]
)


@EACH
@settings(max_examples=50, deadline=None)
@given(thoughts=PROSE)
def test_thoughts_never_change_the_answer(opening: str, closing: str, thoughts: str) -> None:
    """Whatever stands in them, tags of further thoughts too."""
    assert "[1, 0]" == answer(Reply(f"{opening}{thoughts}\n{closing}\n[1, 0]"), "k").strip()


@settings(max_examples=50, deadline=None)
@given(thoughts=PROSE)
def test_a_lone_closing_tag_ends_thoughts(thoughts: str) -> None:
    """Chat templates may have put the opening tag into the prompt."""
    assert "[1, 0]" == answer(Reply(f"{thoughts}\n</think>\n\n[1, 0]"), "k").strip()


@EACH
@settings(max_examples=50, deadline=None)
@given(thoughts=st.text(max_size=80).filter(lambda text: "final" not in text and "/" not in text))
@pytest.mark.parametrize(("finish", "why"), [("length", "at max_tokens; raise it"), ("stop", "never ends")])
def test_thoughts_that_do_not_end_hold_no_answer(
    opening: str, closing: str, thoughts: str, finish: str, why: str
) -> None:
    """Cut off or not: the reason says that it was inside of them."""
    cut = Reply(f"{opening}{thoughts}", finish)  # type: ignore[arg-type]
    with pytest.raises(Unreadable, match=f"cut off inside its thoughts, .*{why}"):
        answer(cut, "7/0")
    again = Reply(f"{opening}x\n{closing}\n{opening}{thoughts}", finish)  # type: ignore[arg-type]
    if not opening.startswith("analysis"):
        with pytest.raises(Unreadable, match="the reply to 7/0 was cut off inside its thoughts"):
            answer(again, "7/0")


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=80).filter(lambda text: not {*"<[◁"} & {*text} and "assistantfinal" not in text))
def test_a_reply_without_thoughts_is_its_answer(text: str) -> None:
    """As it is."""
    if not text.lstrip().startswith("analysis"):
        assert text == answer(Reply(text), "k")


@pytest.mark.parametrize(
    "text",
    [
        'EXPLANATION: The tag "</think>" that closes thoughts.',
        "EXPLANATION: The tags `<think>` and `</think>`.",
        "EXPLANATION: The tag </think> in transcripts.",
        "EXPLANATION: The word <thinking> in HTML.",
        "analysis of variance",
    ],
)
def test_an_answer_may_speak_of_tags(text: str) -> None:
    """A tag in the middle of a sentence is a word of it, also after thoughts that were ended."""
    assert text == answer(Reply(text), "k")
    assert text == answer(Reply(f"<think>Tags?</think>\n{text}"), "k").strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fine.</think>3", "3"),
        ("Fine. </think>\n\n3", "3"),
        ("<think>fine </think> 3", "3"),
        ("Well.\n<think>\nHm.\n</think>\n3", "3"),
        ("<think>a</think>\n<think>b</think>\n3", "3"),
        ("<think>a</think>\n<answer>\n3\n</answer>", "3"),
        ("<|channel|>final<|message|>3<|return|>", "3"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>3<|END_RESPONSE|>", "3"),
    ],
)
def test_what_follows_thoughts_is_the_answer(text: str, expected: str) -> None:
    """Without the tags that some models put around it."""
    assert expected == answer(Reply(text), "k").strip()


def test_a_reply_that_is_thoughts_alone_has_no_answer() -> None:
    """Ended or kept back by the server: the reason says which."""
    with pytest.raises(Unreadable, match="nothing follows the thoughts in the reply to 7/0"):
        answer(Reply("<think>Boats.</think>\n"), "7/0")
    with pytest.raises(Unreadable, match="cut off at max_tokens before its answer began"):
        answer(Reply("", "length"), "7/0")
    assert not answer(Reply(""), "7/0")


@pytest.mark.parametrize("folder", ["explainers", "scorers"])
def test_whoever_reads_a_reply_reads_its_answer(folder: str) -> None:
    """No explainer and no scorer looks at the text of a reply in another way."""
    for file in Path(tasks.__file__).parent.joinpath(folder).glob("*.py"):
        assert not re.search(r"\breply\.text\b", file.read_text(encoding="utf-8")), file.name


def test_tokens_of_thoughts_are_left_out() -> None:
    """Also where the server took the thoughts out of the text; none where they don't end."""
    spelled = ["<think>", "\n", "1", "\n", "</think>", "\n\n", "0"]
    made = tuple(TokenLogprob(token, -0.1, {}) for token in spelled)
    assert ["\n\n", "0"] == [token.token for token in tokens(Reply("0", completion=made))]
    assert not tokens(Reply("", completion=made[:3]))
    assert [*made[5:]] == list(tokens(Reply("0", completion=made[5:])))
