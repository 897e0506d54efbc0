"""Detection and fuzzing about one context per question, and about some kinds of contexts alone."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.llm import prompt
from tasks.llm.request import RequestKey, Unreadable
from tasks.scorers.detection import Detection
from tasks.scorers.fuzzing import Fuzzing
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import HARBOUR, LIGHTHOUSE, reading

DETECTION = Detection(kind="detection", reader="r", shown=1)
FUZZING = Fuzzing(kind="fuzzing", reader="r", shown=1)
SNAPSHOTS = Path(__file__).parent / "snapshots"
BOTH = pytest.mark.parametrize("scorer", [DETECTION, FUZZING], ids=["detection", "fuzzing"])


@BOTH
def test_the_prompts_are_the_ones_that_were_reviewed(scorer: Detection | Fuzzing) -> None:
    """A change of a rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    first, *others = scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE)
    text = rendered(first) + "".join(
        rendered(replace(other, messages=other.messages[-1:])) for other in others
    )
    assert kept(SNAPSHOTS / f"{scorer.name}_one.txt", text) == text


@BOTH
def test_every_turn_shows_one_context_and_is_answered_with_a_digit(scorer: Detection | Fuzzing) -> None:
    """The few-shot ones like the live one, and nothing speaks of a list."""
    request = scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE)[0]
    system, *turns = request.messages
    assert "list" not in system.text
    assert all(
        re.fullmatch(r"Description: .+\n\nExample 1: .+\n\nDoes .+ one digit\.", turn.text)
        for turn in turns[::2]
    )
    assert {"0", "1"} == {turn.text for turn in turns[1::2]}
    several = scorer.model_copy(update={"shown": 5}).requests(
        RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE
    )[0]
    shown = [line for turn in several.messages[1:-1:2] for line in re.findall(r"Example \d: (.*)", turn.text)]
    assert shown == [re.findall("Example 1: (.*)", turn.text)[0] for turn in turns[:-1:2]]


@BOTH
def test_questions_about_one_explanation_go_together(scorer: Detection | Fuzzing) -> None:
    """As lists where the server takes them; questions about several contexts are sent each by itself."""
    for shown, together in ((1, "7/0/none"), (5, None)):
        subset = scorer.model_copy(update={"shown": shown})
        result = subset.requests(RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE)
        assert {together} == {request.together for request in result}


@BOTH
@pytest.mark.parametrize(
    ("text", "verdict"),
    [("1", True), ("0", False), (" 1\n", True), ("[1]", True), ("**0**.", False), ("It may rain.\n1", True)],
)
def test_the_last_line_is_the_verdict(scorer: Detection | Fuzzing, text: str, verdict: bool) -> None:
    """A digit and nothing else, with or without brackets."""
    request = scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE)[0]
    (row,) = scorer.read(request, reading(text))
    assert (*request.contexts, *request.truths, verdict) == (row.context, row.truth, row.verdict)


@BOTH
@pytest.mark.parametrize("text", ["", "2", "10", "01", "yes", "Example 1", "1, since it rains", "[0, 1]"])
def test_anything_else_is_unreadable(scorer: Detection | Fuzzing, text: str) -> None:
    """A digit in a sentence may mean an example's number."""
    request = scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE)[0]
    with pytest.raises(Unreadable, match="no digit 0 or 1"):
        scorer.read(request, reading(text))


@BOTH
def test_kinds_leave_other_silent_contexts_out(scorer: Detection | Fuzzing) -> None:
    """Activating contexts are always asked about."""
    kinds = {context.context: context.kind for context in HARBOUR.contexts}
    for named in (None, ("similar",), ("random", "cooccurring")):
        subset = scorer.model_copy(update={"kinds": named})
        asked = {
            n for request in subset.requests(RequestKey(7, 0, "none"), "x", HARBOUR) for n in request.contexts
        }
        expected = {n for n, kind in kinds.items() if kind == "activating" or named is None or kind in named}
        assert expected == asked


@pytest.mark.parametrize("marks", ["active", "mismarked"])
def test_kinds_are_refused_where_no_silent_context_is_asked_about(marks: str) -> None:
    """They would be without effect."""
    with pytest.raises(ValidationError, match="asks about no non-activating contexts; leave kinds out"):
        Fuzzing.model_validate({"kind": "fuzzing", "reader": "r", "marks": marks, "kinds": ["random"]})


def test_a_kind_that_was_not_drawn_is_named() -> None:
    """The sentence says what there is."""
    subset = DETECTION.model_copy(update={"kinds": ("random", "similar")})
    assert subset.unmet_need({"random": False, "similar": True, "silent": False}) is None
    assert subset.unmet_need({"random": False, "silent": False}) == (
        "kinds names similar, and sample.negatives has random, silent; name one that is there"
    )
    assert "has none" in (subset.unmet_need({}) or "")


def test_both_prompts_count_for_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the prompt for one context changes what is hashed."""
    for name, text in (("a.prompt.txt", "x"), ("a.one.prompt.txt", "y"), ("ab.prompt.txt", "z")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(prompt, "files", lambda _: tmp_path)
    before = prompt.digest("toy", "a")
    (tmp_path / "ab.prompt.txt").write_text("other", encoding="utf-8")
    assert before == prompt.digest("toy", "a")
    (tmp_path / "a.one.prompt.txt").write_text("other", encoding="utf-8")
    assert before != prompt.digest("toy", "a")
    prompt.read_prompt.cache_clear()
