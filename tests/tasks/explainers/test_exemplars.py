"""The explainer: what it asks, and what it takes from the answer."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.contexts import render
from tasks.explainers.base import Explanation, read_explanation
from tasks.explainers.exemplars import Exemplars
from tasks.llm.request import Outcome, Reply, Request, RequestKey, Unreadable
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import LIGHTHOUSE, reading

EXPLAINER = Exemplars(kind="exemplars", reader="r")
SHOWN = replace(LIGHTHOUSE, contexts=LIGHTHOUSE.contexts[:3])
SNAPSHOT = Path(__file__).parent / "snapshots" / "exemplars.txt"


def asked() -> Request:
    (request,) = EXPLAINER.requests(RequestKey(7, 0), SHOWN)
    return request


def test_the_prompt_is_the_one_that_was_reviewed() -> None:
    """A change of the rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    assert kept(SNAPSHOT, rendered(asked())) == rendered(asked())


def test_only_the_last_turn_depends_on_the_feature() -> None:
    """All before it is the same byte for byte, so that a server's prefix cache serves it."""
    (other,) = EXPLAINER.requests(
        RequestKey(8, 0), replace(SHOWN, feature=8, max=9.0, contexts=SHOWN.contexts[1:])
    )
    assert asked().messages[:-1] == other.messages[:-1]
    assert asked().messages[-1] != other.messages[-1]


def test_few_shot_turns_have_the_form_of_live_ones() -> None:
    """Every example turn reads back as examples with marks and activations, and every answer ends as asked."""
    turns = asked().messages[1:]
    assert ["user", "assistant"] * 3 + ["user"] == [turn.role for turn in turns]
    block = r"Example \d+: .*\nActivations: (\(\".*\", \d+\)(, )?)+"
    for turn in turns[::2]:
        assert re.fullmatch(rf"{block}(\n\n{block})*", turn.text)
        assert all(shown.spans and shown.activations for shown in render.read(turn.text))
    for turn in turns[1::2]:
        assert re.search(r"\nEXPLANATION: \S.*\.$", turn.text)
        assert EXPLAINER.written(asked(), reading(turn.text))


def test_a_request_carries_what_the_config_says() -> None:
    """Contexts in their order, and the sampling options."""
    options = {"temperature": 0.7, "max_tokens": 9, "seed": 3}
    (request,) = Exemplars(kind="exemplars", reader="r", **options).requests(RequestKey(7, 0), SHOWN)  # type: ignore[arg-type]
    assert (0, 1, 2) == request.contexts
    assert ("7/0", 0.7, 9, 3) == (request.key, request.temperature, request.max_tokens, request.seed)


def test_another_prompt_can_be_named(tmp_path: Path) -> None:
    """The file replaces the system turn and nothing else."""
    (tmp_path / "mine.txt").write_text("Explain {contexts}.\n")
    explainer = EXPLAINER.model_copy(update={"prompt": (tmp_path / "mine.txt").as_posix()})
    (request,) = explainer.requests(RequestKey(7, 0), SHOWN)
    assert "Explain {contexts}." == request.messages[0].text
    assert asked().messages[1:] == request.messages[1:]
    assert asked().digest != request.digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EXPLANATION: Lighthouses.", "Lighthouses."),
        ("It may be EXPLANATION: boats.\nNo.\nEXPLANATION: Lighthouses.", "Lighthouses."),
        ("EXPLANATION:\n  Lighthouses\n  and keepers.  \n", "Lighthouses and keepers."),
        ('EXPLANATION: Text with {braces} and "quotes".', 'Text with {braces} and "quotes".'),
    ],
)
def test_the_explanation_is_what_follows_the_last_tag(text: str, expected: str) -> None:
    """On one line, whatever it contains."""
    assert expected == EXPLAINER.read(asked(), reading(text))


@pytest.mark.parametrize(
    "text", ["", "Lighthouses.", "EXPLANATION:", "Boats. EXPLANATION: boats.", "EXPLANATION: ..."]
)
def test_a_reply_without_an_explanation_is_unreadable(text: str) -> None:
    """No tag at the start of a line, or nothing after it, is no explanation."""
    with pytest.raises(Unreadable, match="no line EXPLANATION: in the reply to 7/0"):
        EXPLAINER.read(asked(), reading(text))


def test_a_reply_that_was_cut_off_says_so() -> None:
    """The reason names the limit that was too low."""
    with pytest.raises(Unreadable, match="cut off at max_tokens"):
        EXPLAINER.read(asked(), reading("Let us look at the", "length"))


@pytest.mark.parametrize(
    ("reply", "reason", "expected"),
    [
        (reading("EXPLANATION: Lighthouses."), None, Explanation("Lighthouses.", None)),
        (None, "503: busy", Explanation(None, "503: busy")),
        (None, None, Explanation(None, "the reader gave no reply")),
        (reading("no"), None, Explanation(None, "no line EXPLANATION: in the reply to 7/0 ('no')")),
    ],
)
def test_a_failure_stays_a_failure(reply: Reply | None, reason: str | None, expected: Explanation) -> None:
    """There is a text or a reason, never both and never neither."""
    assert expected == read_explanation(EXPLAINER, Outcome(asked(), reply, reason, "here", "m", 1, 0.0))
