"""Where an explanation begins and ends in a reply."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.explainers.exemplars import Exemplars
from tasks.explainers.reply_text import tagged
from tasks.llm.request import Message, Reply, Request, Unreadable

EXPLAINER = Exemplars(kind="exemplars", reader="r")
REQUEST = Request("7/0", messages=(Message("user", "x"),))
TIDES = "Words about tides."
WORDS = st.text("abc XYZ,;'.", min_size=1, max_size=40).filter(str.strip)


def text(reply: str) -> str | None:
    result = tagged(reply)
    return result.text if result else None


@pytest.mark.parametrize(
    "begin",
    [
        "EXPLANATION:",
        "Explanation:",
        "**EXPLANATION:**",
        "**Explanation**:",
        "__Explanation:__",
        "- EXPLANATION:",
        "3. **Explanation:**",
        "> EXPLANATION:",
        "### Explanation:\n",
        "## Explanation\n\n",
        "**Explanation**\n",
        "Final explanation:",
        "[EXPLANATION]:",
        "EXPLANATION\uff1a",
        "```\nEXPLANATION:",
        "```text\nEXPLANATION:\n",
        "They have something in common.\nEXPLANATION:",
        "Here is it:\n\n   EXPLANATION:",
    ],
)
def test_a_tag_begins_a_line(begin: str) -> None:
    """Whatever signs stand before it, and around it."""
    assert text(f"{begin} {TIDES}") == TIDES


@settings(max_examples=50, deadline=None)
@given(before=WORDS.filter(lambda words: any(map(str.isalpha, words))))
def test_a_tag_within_a_line_begins_no_explanation(before: str) -> None:
    """Neither alone nor after one that does."""
    assert text(f"{before} x EXPLANATION: boats.") is None
    assert text(f"EXPLANATION: {TIDES}\n\n{before} x explanation: boats.") == TIDES
    quoted = 'The heading "Explanation:" that stands before an answer'
    assert text(f"EXPLANATION: {quoted}") == quoted


@pytest.mark.parametrize(
    "after",
    [
        "\n\nNote: this is a first explanation: more contexts would help.",
        "\nNote: more contexts would help.",
        "\n**Confidence:** 0.9",
        "\nThe marked words are all of the sea.",
        "\n\nThe marked words are all of the sea.",
        "\n```",
        "\n```\nI hope that this helps.",
        "\n---\nMore.",
        '\n\nExample 12: the <<tide>>\nActivations: ("tide", 9)\n\nOf boats.\nEXPLANATION: Boats.',
        "\nExample 12: the <<tide>>\nEXPLANATION: Boats.",
        '\nActivations: ("tide", 9)\nEXPLANATION: Boats.',
        "\n\nCounterexample 1: the pier\n\nEXPLANATION: Boats.",
        " Example 12: the <<tide>>",
        "\n\nuser\nExample 1: x\n\nassistant\nEXPLANATION: Boats.",
        "<|im_end|>\n<|im_start|>user\nEXPLANATION: Boats.",
        "</s>",
        "\n\nExplanation: I chose this since all of them are of the sea.",
    ],
)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_what_follows_an_explanation_is_no_part_of_it(after: str, finish: str) -> None:
    """Notes, invented examples with explanations of their own, fences, further turns; cut off or not."""
    reply = Reply(f"EXPLANATION: {TIDES}{after}", finish)  # type: ignore[arg-type]
    assert EXPLAINER.read(REQUEST, reply) == TIDES


@settings(max_examples=50, deadline=None)
@given(number=st.integers(1, 99), example=WORDS, explanation=WORDS)
def test_an_invented_example_never_changes_the_explanation(
    number: int, example: str, explanation: str
) -> None:
    """Whatever it says, and whatever it is answered with."""
    invented = f"Example {number}: {example}\n\n{explanation}\nEXPLANATION: {explanation}"
    assert text(f"EXPLANATION: {TIDES}\n\n{invented}") == TIDES


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('"Words about tides."', TIDES),
        ("**Words about tides.**", TIDES),
        ("Words about tides.**", TIDES),
        ("`Words about tides.`", TIDES),
        ("<<Words about tides.>>", TIDES),
        ("Words about tides.>>", TIDES),
        ('Words about tides."', TIDES),
        ("*Words about tides.*", TIDES),
        ('The words "a" and "b"', 'The words "a" and "b"'),
        ('"a", "b"', '"a", "b"'),
        ('The operator "<<" in C++.', 'The operator "<<" in C++.'),
        ("Products such as a * b", "Products such as a * b"),
        ("The token <|endoftext|>", "The token <|endoftext|>"),
        ("The speakers'", "The speakers'"),
    ],
)
def test_signs_around_an_explanation_are_no_part_of_it(message: str, expected: str) -> None:
    """Those within it are."""
    assert text(f"EXPLANATION: {message}") == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Words about\ntides and the moon.\n\nNote.", "Words about tides and the moon."),
        ("\n- tides\n- the moon", "tides; the moon"),
        ("It responds to:\n\n1. tides\n2. the moon\n\nHm.", "It responds to: tides; the moon"),
    ],
)
def test_a_paragraph_is_one_explanation(message: str, expected: str) -> None:
    """Wrapped lines are joined, and a list that it announces belongs to it."""
    assert text(f"EXPLANATION: {message}") == expected


@pytest.mark.parametrize(
    "message", ["N/A", "None", "none.", "**None**", "Unclear.", "[description]", "<your explanation here>"]
)
def test_a_word_for_nothing_is_no_explanation(message: str) -> None:
    """Nor is a place to fill in; a quoted word, and a sentence that begins so, are."""
    assert text(f"EXPLANATION: {message}") is None
    assert text('EXPLANATION: "None"') == "None"
    assert text(f"EXPLANATION: {message} {TIDES}") is not None


def test_the_last_of_several_drafts_counts() -> None:
    """As long as no example was invented between them."""
    assert text(f"EXPLANATION: Boats?\nThe third speaks of the moon.\nEXPLANATION: {TIDES}") == TIDES


@pytest.mark.parametrize("cut", ["", " Words", " Words about tid"])
def test_a_reader_that_repeats_itself_is_read_once(cut: str) -> None:
    """Though it was cut off in the middle of the next time; another draft that was cut off is none."""
    loop = f"EXPLANATION: {TIDES}\nEXPLANATION: {TIDES}\nEXPLANATION:{cut}"
    assert EXPLAINER.read(REQUEST, Reply(loop, "length")) == TIDES
    with pytest.raises(Unreadable, match="in the middle of its explanation"):
        EXPLAINER.read(REQUEST, Reply(f"EXPLANATION: {TIDES}\nEXPLANATION: Boats that", "length"))


@pytest.mark.parametrize("end", ["", "?", "!", '."', ".)", "。"])
def test_a_whole_sentence_counts_though_the_reply_was_cut_off(end: str) -> None:
    """It ends as sentences do; without such an end it may have gone on."""
    reply = Reply(f'EXPLANATION: The word (or "tide{end}', "length")
    if end:
        assert EXPLAINER.read(REQUEST, reply)
    else:
        with pytest.raises(
            Unreadable, match="the reply to 7/0 was cut off at max_tokens, in the middle of its"
        ):
            EXPLAINER.read(REQUEST, reply)


@pytest.mark.parametrize(
    "message", ["Words such as e.g.", "Words about tides and ...", "Words about", "Words about tides\n\n"]
)
def test_half_a_sentence_is_no_explanation(message: str) -> None:
    """Where the reply was cut off; where it was not, it is one."""
    with pytest.raises(Unreadable, match="in the middle of its explanation"):
        EXPLAINER.read(REQUEST, Reply(f"EXPLANATION: {message}", "length"))
    assert EXPLAINER.read(REQUEST, Reply(f"EXPLANATION: {message}")).startswith("Words")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=120) | st.text("EXPLANATION:* \n`\"'<>-.ab", max_size=120))
def test_no_reply_breaks_it(reply: str) -> None:
    """Whatever comes, it is one line of text or nothing."""
    result = tagged(f"EXPLANATION: {reply}")
    assert result is None or (result.text == " ".join(result.text.split()) and result.text)
