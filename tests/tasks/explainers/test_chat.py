"""What all explainers that ask a reader do alike."""

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.explainers import Explainer, Otherwise
from tasks.explainers.base import ExplainerInputs
from tasks.explainers.chat import BestOf, ChatExplainer
from tasks.explainers.exemplars import Exemplars
from tasks.llm.baseline.reader import Baseline
from tasks.llm.request import Request, RequestKey, Unreadable
from tests.tasks.explainers.every import EVERY, WHOLE, answered
from tests.tasks.explainers.explaining import Fake, explain
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import reading

EACH = pytest.mark.parametrize("explainer", EVERY, ids=lambda explainer: explainer.kind)
SNAPSHOTS = Path(__file__).parent / "snapshots"
PLENTY = ExplainerInputs(coders=("toy",), lake="./lake", explain=40, contrast=20, logits=10)

KEPT = {
    "exemplars": "936914fc95da2296",
    "chain_of_thought": "a2c22eef6d70bf2b",
    "no_activations": "dc2e285738c60d7c",
    "logits": "47b8cf0fc3867588",
    "contrastive": "79195f6f9ac2b53e",
    "structured": "570cb24fdba75300",
}
"""Fingerprints of the question about `WHOLE` before there were the options `shots` and `stop`."""


def asked(explainer: ChatExplainer, feature: Feature = WHOLE) -> Request:
    (request,) = explainer.requests(RequestKey(feature.feature, 0), feature)
    return request


def members(union: object) -> set[type]:
    return {*get_args(get_args(union)[0])}


def test_every_kind_is_tested_here_and_can_be_passed_to() -> None:
    """Whatever explainer asks a reader, `single_token` may pass features on to it."""
    asking = {member for member in members(Explainer) if issubclass(member, ChatExplainer)}
    assert asking == members(Otherwise) == {type(member) for member in EVERY}


@pytest.mark.parametrize("explainer", EVERY[1:], ids=lambda item: item.kind)
def test_the_prompt_is_the_one_that_was_reviewed(explainer: ChatExplainer) -> None:
    """A change of the rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    assert kept(SNAPSHOTS / f"{explainer.kind}.txt", rendered(asked(explainer))) == rendered(asked(explainer))


@EACH
def test_only_the_last_turn_depends_on_the_feature(explainer: ChatExplainer) -> None:
    """All before it is the same byte for byte, so that a server's prefix cache serves it."""
    other = replace(WHOLE, feature=8, max=9.0, contexts=WHOLE.contexts[1:5])
    assert asked(explainer).messages[:-1] == asked(explainer, other).messages[:-1]
    assert asked(explainer).messages[-1] != asked(explainer, other).messages[-1]


@EACH
def test_few_shot_turns_have_the_form_of_live_ones(explainer: ChatExplainer) -> None:
    """They show marked examples, with activations where live ones have them, and their answers can be read."""
    turns = asked(explainer).messages[1:]
    assert ["user", "assistant"] * 3 + ["user"] == [turn.role for turn in turns]
    live = {line.split(" ")[0] for line in turns[-1].text.split("\n") if line}
    for turn in turns[::2]:
        assert live == {line.split(" ")[0] for line in turn.text.split("\n") if line}
        assert all(shown.spans for shown in render.read(turn.text))
    for turn in turns[1::2]:
        assert explainer.written(asked(explainer), reading(turn.text)).endswith(".")


@EACH
def test_silent_contexts_are_no_examples(explainer: ChatExplainer) -> None:
    """Where an explainer has non-activating contexts of its own, none of them is shown as an activating one."""
    shown = render.read(asked(explainer).messages[-1].text)
    assert 3 == len(shown)
    assert all("bread" not in item.text for item in shown)


@EACH
def test_an_answer_of_a_reader_is_written_down(explainer: ChatExplainer, tmp_path: Path) -> None:
    """The whole way: one row with the text, the model, the tokens and the hash of what was asked."""
    answer = answered(explainer)
    (row,), (request,) = explain(Lake(str(tmp_path)), [WHOLE], explainer, {"r": Fake(lambda _: answer)})
    assert explainer.read(asked(explainer), reading(answer)) == row["text"]
    assert ("ok", None, True, None) == (row["status"], row["reason"], row["chosen"], row["held_out"])
    assert (explainer.kind, 0, "r", "fake", 22) == tuple(
        row[name] for name in ("explainer", "replicate", "reader", "model", "seed")
    )
    assert (7, 3, "stop") == (row["prompt_tokens"], row["completion_tokens"], row["finish_reason"])
    assert asked(explainer).digest == row["prompt_hash"] == request["prompt_hash"]
    assert ("7/0", "explain", explainer.kind) == tuple(request[n] for n in ("request", "stage", "component"))


@EACH
def test_garbage_is_no_explanation(explainer: ChatExplainer, tmp_path: Path) -> None:
    """A row without a text, which no scorer judges, with the reason."""
    (row,), _ = explain(Lake(str(tmp_path)), [WHOLE], explainer, {"r": Fake(lambda _: "I see lighthouses.")})
    assert (None, None, "failed", False) == tuple(row[n] for n in ("text", "structure", "status", "chosen"))
    assert "in the reply to 7/0" in row["reason"]
    assert "I see lighthouses." in row["reason"]


@EACH
def test_a_few_shot_answer_is_no_explanation(explainer: ChatExplainer, tmp_path: Path) -> None:
    """Word for word, in another letter case, or with a few words changed: a failed row that says so."""
    message = r"it repeats the example answer '.+' of the prompt in the reply to 7/0; .* shots: none"
    for example in explainer.examples:
        for text in (example, example.upper(), example.replace(",", "").replace("such as", "like")):
            with pytest.raises(Unreadable, match=message):
                explainer.read(asked(explainer), reading(answered_with(explainer, text)))
    copied = asked(explainer).messages[4].text
    (row,), _ = explain(Lake(str(tmp_path)), [WHOLE], explainer, {"r": Fake(lambda _: copied)})
    assert ("failed", None, False) == (row["status"], row["text"], row["chosen"])
    assert re.fullmatch(f"{message}.*", row["reason"])


def answered_with(explainer: ChatExplainer, text: str) -> str:
    if explainer.kind != "structured":
        return f"EXPLANATION: {text}"
    part = {"pattern": text, "strength": 9}
    return json.dumps({"components": [part], "scope": None, "confidence": 0.5})


@EACH
def test_few_shots_may_be_left_out(explainer: ChatExplainer, tmp_path: Path) -> None:
    """Then the question follows the system turn; nothing could be repeated, and explanations are made anew."""
    bare = explainer.model_copy(update={"shots": "none"})
    system, *_, question = asked(explainer).messages
    assert (system, question) == asked(bare).messages
    assert explainer.identity() != bare.identity()
    example = answered_with(bare, bare.examples[0])
    (row,), _ = explain(Lake(str(tmp_path)), [WHOLE], bare, {"r": Fake(lambda _: example)})
    assert "ok" == row["status"]


@EACH
def test_contexts_may_be_shown_in_another_order(explainer: ChatExplainer) -> None:
    """The same ones from the weakest to the strongest, or shuffled by the seed; silent ones keep their places."""
    whole = replace(WHOLE, contexts=tuple(replace(context, decile=0) for context in WHOLE.contexts))

    def order(**options: object) -> tuple[int, ...]:
        return asked(explainer.model_copy(update=options), whole).contexts

    firing = len([context for context in whole.contexts if context.activating])
    active, silent = order()[:firing], order()[firing:]
    assert (*reversed(active), *silent) == order(order="weakest")
    drawn = {order(order="shuffled", seed=seed) for seed in range(20)}
    assert order(order="shuffled", seed=3) in drawn
    assert 1 < len(drawn)
    assert {(*sorted(active), *silent)} == {(*sorted(each[:firing]), *each[firing:]) for each in drawn}
    shown = render.read(asked(explainer.model_copy(update={"order": "weakest"}), whole).messages[-1].text)
    assert [item.text for item in render.read(asked(explainer, whole).messages[-1].text)] == [
        item.text for item in reversed(shown)
    ]


@EACH
def test_what_is_asked_is_what_was_asked_before_there_were_options(explainer: ChatExplainer) -> None:
    """Few-shots and no stop: replies that a lake has kept answer it; a stop is another question."""
    assert {"all": ()} == {explainer.shots: explainer.stop} == {explainer.shots: asked(explainer).stop}
    assert KEPT[explainer.kind] == asked(explainer).fingerprint[:16]
    stopping = explainer.model_copy(update={"stop": ("\nExample ",)})
    assert ("\nExample ",) == asked(stopping).stop
    assert asked(explainer).fingerprint != asked(stopping).fingerprint


@EACH
@settings(max_examples=20, deadline=None)
@given(thoughts=st.text(max_size=60))
def test_thoughts_never_change_an_explanation(explainer: ChatExplainer, thoughts: str) -> None:
    """Whatever stands in them, another answer too."""
    own, other = answered(explainer), answered_with(explainer, "Boats.")
    reply = reading(f"<think>\n{thoughts}\n{other}\n</think>\n{own}")
    assert explainer.read(asked(explainer), reading(own)) == explainer.read(asked(explainer), reply)


@EACH
def test_an_answer_in_thoughts_that_were_cut_off_is_a_failure(
    explainer: ChatExplainer, tmp_path: Path
) -> None:
    """With that reason, and with the way in which the reply ended."""
    thoughts = f"<think>\nA first guess.\n{answered(explainer)}\nBut the third"
    reader = Fake(lambda _: thoughts, finish_reason="length")
    (row,), (request,) = explain(Lake(str(tmp_path)), [WHOLE], explainer, {"r": reader})
    assert ("failed", None, "length", "length") == (
        row["status"],
        row["text"],
        row["finish_reason"],
        request["finish_reason"],
    )
    assert "the reply to 7/0 was cut off inside its thoughts, at max_tokens" in row["reason"]


@EACH
def test_the_baseline_answers_what_it_understands(explainer: ChatExplainer) -> None:
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
def test_replicates_differ_by_their_seed(explainer: ChatExplainer, tmp_path: Path) -> None:
    """Each is a row with its own number and the seed that was sent."""
    several = explainer.model_copy(update={"replicates": 3, "temperature": 0.7, "seed": 40})
    reader = Fake(lambda request: answered(explainer) if request.seed != 41 else "no")
    rows, requests = explain(Lake(str(tmp_path)), [WHOLE], several, {"r": reader})
    assert [(0, 40), (1, 41), (2, 42)] == [(row["replicate"], row["seed"]) for row in rows]
    assert ["ok", "failed", "ok"] == [row["status"] for row in rows]
    assert [True, False, True] == [row["chosen"] for row in rows]
    assert ["7/0", "7/1", "7/2"] == [request["request"] for request in requests]
    assert 3 == len({request["prompt_hash"] for request in requests})


@EACH
def test_another_prompt_can_be_named(explainer: ChatExplainer, tmp_path: Path) -> None:
    """The file replaces the system turn and nothing else, and explanations are made anew."""
    (tmp_path / "mine.txt").write_text("Explain {contexts}.\n")
    mine = explainer.model_copy(update={"prompt": (tmp_path / "mine.txt").as_posix()})
    assert "Explain {contexts}." == asked(mine).messages[0].text
    assert asked(explainer).messages[1:] == asked(mine).messages[1:]
    assert explainer.identity()["prompts"] != mine.identity()["prompts"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicates": 2}, "would all be alike at temperature 0"),
        ({"temperature": 0.7, "best_of": {}}, "best_of chooses among replicates, and there is 1"),
        ({"replicates": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    """In one sentence, before anything is asked."""
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Explainer).validate_python({"kind": "exemplars", "reader": "r", **options})


@EACH
@pytest.mark.parametrize(
    ("held_out", "changes", "message"),
    [
        (10, {}, None),
        (21, {}, "best_of.held_out 21 is more than half of sample.explain 40; set sample.explain to 42"),
        (5, {"contrast": 4}, "sample.contrast gives 4; set sample.contrast to [{kind: random, n:"),
    ],
)
def test_a_run_must_give_what_is_held_out(
    explainer: ChatExplainer, held_out: int, changes: dict[str, int], message: str | None
) -> None:
    """The explainer must be left half of its contexts, and there must be non-activating ones to judge by."""
    best = explainer.model_copy(update={"best_of": BestOf(held_out=held_out)})
    lacking = best.unmet_need(PLENTY._replace(**changes))
    assert message is None if lacking is None else message is not None and message in lacking


def test_who_is_asked_is_named_by_the_key() -> None:
    """A reader of the choice is asked beside the explainer's own, which is asked where none is named."""
    options = {"kind": "exemplars", "reader": "a", "temperature": 0.7, "replicates": 2}
    item = Exemplars.model_validate({**options, "best_of": {"reader": "b"}})
    other = Exemplars.model_validate({**options, "best_of": {}})
    assert {"reader": "a", "best_of.reader": "b"} == item.readers
    assert {"reader": "a"} == other.readers
    assert ("b", "a") == (item.chooser, other.chooser)
