"""What all explainers that ask a reader do alike."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.explainers import Explainer
from tasks.explainers.asking import Asking, BestOf
from tasks.explainers.base import Given
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.single_token import Otherwise
from tasks.llm.baseline import Baseline
from tasks.llm.request import Request
from tests.tasks.explainers.every import EVERY, WHOLE
from tests.tasks.explainers.explaining import Fake, explain
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import reading

EACH = pytest.mark.parametrize("explainer", EVERY, ids=lambda one: one.kind)
SNAPSHOTS = Path(__file__).parent / "snapshots"
PLENTY = Given(coders=("toy",), lake="./lake", explain=40, contrast=20, logits=10)


def asked(explainer: Asking, feature: Feature = WHOLE) -> Request:
    (request,) = explainer.requests(f"{feature.feature}/0", feature)
    return request


def members(union: object) -> set[type]:
    return {*get_args(get_args(union)[0])}


def test_every_kind_is_tested_here_and_can_be_passed_to() -> None:
    """Whatever explainer asks a reader, `single_token` may pass features on to it."""
    asking = {one for one in members(Explainer) if issubclass(one, Asking)}
    assert asking == members(Otherwise) == {type(one) for one in EVERY}


@pytest.mark.parametrize("explainer", EVERY[1:], ids=lambda one: one.kind)
def test_the_prompt_is_the_one_that_was_reviewed(explainer: Asking) -> None:
    """A change of the rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    assert kept(SNAPSHOTS / f"{explainer.kind}.txt", rendered(asked(explainer))) == rendered(asked(explainer))


@EACH
def test_only_the_last_turn_depends_on_the_feature(explainer: Asking) -> None:
    """All before it is the same byte for byte, so that a server's prefix cache serves it."""
    other = replace(WHOLE, feature=8, max=9.0, contexts=WHOLE.contexts[1:5])
    assert asked(explainer).messages[:-1] == asked(explainer, other).messages[:-1]
    assert asked(explainer).messages[-1] != asked(explainer, other).messages[-1]


@EACH
def test_few_shot_turns_have_the_form_of_live_ones(explainer: Asking) -> None:
    """They show marked examples, with activations where live ones have them, and their answers can be read."""
    turns = asked(explainer).messages[1:]
    assert ["user", "assistant"] * 3 + ["user"] == [turn.role for turn in turns]
    live = {line.split(" ")[0] for line in turns[-1].text.split("\n") if line}
    for turn in turns[::2]:
        assert live == {line.split(" ")[0] for line in turn.text.split("\n") if line}
        assert all(shown.spans for shown in render.read(turn.text))
    for turn in turns[1::2]:
        assert explainer.read(asked(explainer), reading(turn.text)).endswith(".")


@EACH
def test_silent_contexts_are_no_examples(explainer: Asking) -> None:
    """Where an explainer has non-activating contexts of its own, none of them is shown as an activating one."""
    shown = render.read(asked(explainer).messages[-1].text)
    assert 3 == len(shown)
    assert all("bread" not in one.text for one in shown)


@EACH
def test_an_answer_of_a_reader_is_written_down(explainer: Asking, tmp_path: Path) -> None:
    """The whole way: one row with the text, the model, the tokens and the hash of what was asked."""
    answer = asked(explainer).messages[2].text
    (row,), (request,) = explain(Lake(str(tmp_path)), [WHOLE], explainer, {"r": Fake(lambda _: answer)})
    assert explainer.read(asked(explainer), reading(answer)) == row["text"]
    assert ("ok", None, True, None) == (row["status"], row["reason"], row["chosen"], row["held_out"])
    assert (explainer.kind, 0, "r", "fake", 22) == tuple(
        row[name] for name in ("explainer", "replicate", "reader", "model", "seed")
    )
    assert (7, 3) == (row["prompt_tokens"], row["completion_tokens"])
    assert asked(explainer).digest == row["prompt_hash"] == request["prompt_hash"]
    assert ("7/0", "explain", explainer.kind) == tuple(request[n] for n in ("request", "stage", "component"))


@EACH
def test_garbage_is_no_explanation(explainer: Asking, tmp_path: Path) -> None:
    """A row without a text, which no scorer judges, with the reason."""
    (row,), _ = explain(Lake(str(tmp_path)), [WHOLE], explainer, {"r": Fake(lambda _: "I see lighthouses.")})
    assert (None, None, "failed", False) == tuple(row[n] for n in ("text", "structure", "status", "chosen"))
    assert "in the reply to 7/0" in row["reason"]
    assert "I see lighthouses." in row["reason"]


@EACH
def test_the_baseline_answers_what_it_understands(explainer: Asking) -> None:
    """It explains by marked examples, and says so where more is shown or another form is wanted."""
    request = asked(explainer)
    outcome = asyncio.run(Baseline().ask(request))
    if explainer.kind in {"logits", "structured"}:
        assert outcome.reply is None
        assert "only questions about rendered examples" in (outcome.reason or "")
    else:
        assert outcome.reply is not None
        text = explainer.read(request, outcome.reply)
        assert '"house"' in text or '"-house"' in text
        assert "bread" not in text


@EACH
def test_replicates_differ_by_their_seed(explainer: Asking, tmp_path: Path) -> None:
    """Each is a row with its own number and the seed that was sent."""
    several = explainer.model_copy(update={"replicates": 3, "temperature": 0.7, "seed": 40})
    reader = Fake(lambda request: asked(explainer).messages[2].text if request.seed != 41 else "no")
    rows, requests = explain(Lake(str(tmp_path)), [WHOLE], several, {"r": reader})
    assert [(0, 40), (1, 41), (2, 42)] == [(row["replicate"], row["seed"]) for row in rows]
    assert ["ok", "failed", "ok"] == [row["status"] for row in rows]
    assert [True, False, True] == [row["chosen"] for row in rows]
    assert ["7/0", "7/1", "7/2"] == [request["request"] for request in requests]
    assert 3 == len({request["prompt_hash"] for request in requests})


@EACH
def test_another_prompt_can_be_named(explainer: Asking, tmp_path: Path) -> None:
    """The file replaces the system turn and nothing else, and explanations are made anew."""
    (tmp_path / "mine.txt").write_text("Explain {contexts}.\n")
    mine = explainer.model_copy(update={"prompt": (tmp_path / "mine.txt").as_posix()})
    assert "Explain {contexts}." == asked(mine).messages[0].text
    assert asked(explainer).messages[1:] == asked(mine).messages[1:]
    assert explainer.identity()["prompts"] != mine.identity()["prompts"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"replicates": 2}, "would all be alike at temperature 0"),
        ({"temperature": 0.7, "best_of": {}}, "best_of chooses among replicates, and there is 1"),
        ({"replicates": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, said: str) -> None:
    """In one sentence, before anything is asked."""
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(Explainer).validate_python({"kind": "exemplars", "reader": "r", **options})


@EACH
@pytest.mark.parametrize(
    ("held_out", "changes", "said"),
    [
        (10, {}, None),
        (21, {}, "best_of.held_out 21 is more than half of sample.explain 40; set sample.explain to 42"),
        (5, {"contrast": 4}, "sample.contrast gives 4; set sample.contrast to [{kind: random, n:"),
    ],
)
def test_a_run_must_give_what_is_held_out(
    explainer: Asking, held_out: int, changes: dict[str, int], said: str | None
) -> None:
    """The explainer must be left half of its contexts, and there must be non-activating ones to judge by."""
    best = explainer.model_copy(update={"best_of": BestOf(held_out=held_out)})
    lacking = best.lacks(PLENTY._replace(**changes))
    assert said is None if lacking is None else said is not None and said in lacking


def test_who_is_asked_is_named_by_the_key() -> None:
    """A reader of the choice is asked beside the explainer's own, which is asked where none is named."""
    options = {"kind": "exemplars", "reader": "a", "temperature": 0.7, "replicates": 2}
    one = Exemplars.model_validate({**options, "best_of": {"reader": "b"}})
    other = Exemplars.model_validate({**options, "best_of": {}})
    assert {"reader": "a", "best_of.reader": "b"} == one.readers
    assert {"reader": "a"} == other.readers
    assert ("b", "a") == (one.chooser, other.chooser)
