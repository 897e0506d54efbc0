"""Where instructions and few-shot turns stand, in whatever explainers and scorers ask by chat."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tasks.contexts import render
from tasks.explainers.chat import ChatExplainer
from tasks.fields import kinds
from tasks.llm.baseline.reader import Baseline
from tasks.llm.request import Message, Reply, Request, RequestKey
from tasks.llm.token_count import answers
from tasks.scorers import Scorer
from tasks.scorers.chat import ChatScorer
from tasks.scorers.detection import Detection
from tasks.scorers.discrimination import Discrimination
from tasks.scorers.fuzzing import Fuzzing
from tasks.scorers.intruder import Intruder
from tasks.scorers.saebench import SAEBench
from tests.tasks.explainers.every import EVERY, WHOLE
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import HARBOUR

SNAPSHOTS = Path(__file__).parent / "snapshots"

SCORERS: Mapping[str, ChatScorer] = {
    "detection": Detection(kind="detection", reader="r"),
    "detection of one": Detection(kind="detection", reader="r", shown=1),
    "fuzzing": Fuzzing(kind="fuzzing", reader="r"),
    "discrimination": Discrimination(kind="discrimination", reader="r", others=2),
    "intruder": Intruder(kind="intruder", reader="r"),
    "saebench": SAEBench(kind="saebench", reader="r"),
}
ASKERS: Mapping[str, ChatExplainer | ChatScorer] = {
    **{explainer.kind: explainer for explainer in EVERY},
    **SCORERS,
}
EACH = pytest.mark.parametrize("asker", ASKERS.values(), ids=list(ASKERS))
EACH_SCORER = pytest.mark.parametrize("scorer", SCORERS.values(), ids=list(SCORERS))


def asked(asker: ChatExplainer | ChatScorer, **options: object) -> list[Request]:
    changed = type(asker).model_validate(asker.model_dump() | options)
    if isinstance(changed, ChatExplainer):
        return changed.requests(RequestKey(7, 0), WHOLE)
    requests = changed.requests(RequestKey(7, 0, "none"), "Lighthouses.", HARBOUR)  # pyright: ignore[reportAttributeAccessIssue]
    assert requests
    return requests


def test_every_scorer_that_asks_by_chat_is_here() -> None:
    """Explainers are, by `tests/tasks/explainers/test_chat.py`; a new kind of scorer is added above."""
    own = {scorer for scorer in kinds(Scorer).values() if issubclass(scorer, ChatScorer)}
    assert own == {type(scorer) for scorer in SCORERS.values()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("detection", {"instruction": "last", "shots": "none", "shown": 2}),
        ("exemplars", {"instruction": "both", "order": "weakest"}),
    ],
)
def test_a_prompt_for_small_readers_is_the_one_that_was_reviewed(name: str, options: dict) -> None:
    """A change of the rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    text = rendered(asked(ASKERS[name], **options)[0])
    assert kept(SNAPSHOTS / f"small_reader_{name}.txt", text) == text


@EACH
@pytest.mark.parametrize("instruction", ["last", "both"])
def test_instructions_may_come_last(asker: ChatExplainer | ChatScorer, instruction: str) -> None:
    """At the end of the last turn, word for word those of the system turn, which only `last` leaves out."""
    for usual, request in zip(asked(asker), asked(asker, instruction=instruction), strict=True):
        system, *between, question = usual.messages
        last = Message("user", f"{question.text}\n\nInstructions: {system.text}")
        assert (*([system] if instruction == "both" else []), *between, last) == request.messages
        assert (usual.contexts, usual.truths, usual.right) == (
            request.contexts,
            request.truths,
            request.right,
        )


@EACH
def test_few_shots_may_be_left_out(asker: ChatExplainer | ChatScorer) -> None:
    """Then a question follows the instructions, and none of their answers can be repeated."""
    for usual, request in zip(asked(asker), asked(asker, shots="none"), strict=True):
        assert (usual.messages[0], usual.messages[-1]) == request.messages
        assert (usual.choices, usual.pattern, usual.schema) == (
            request.choices,
            request.pattern,
            request.schema,
        )


@EACH
def test_defaults_are_no_part_of_a_fingerprint(asker: ChatExplainer | ChatScorer) -> None:
    """Lakes that were made before there were these keys are complete; with other values steps are made anew."""
    newer = {"instruction"} | ({"order"} if isinstance(asker, ChatExplainer) else {"shots"})
    assert newer.isdisjoint(asker.model_dump(mode="json"))
    given = asker.model_copy(update={"instruction": "last", "shots": "none"})
    assert {"instruction": "last", "shots": "none"}.items() <= given.model_dump(mode="json").items()
    assert given == type(asker).model_validate(given.model_dump(mode="json"))


@EACH
def test_the_baseline_reads_past_repeated_instructions(asker: ChatExplainer | ChatScorer) -> None:
    """It answers what it answers where they come first."""

    def replies(instruction: str) -> list[str | None]:
        outcomes = [asyncio.run(Baseline().ask(request)) for request in asked(asker, instruction=instruction)]
        return [outcome.reply and outcome.reply.text for outcome in outcomes]

    assert replies("first") == replies("last") == replies("both")


@EACH_SCORER
@pytest.mark.parametrize("instruction", ["first", "last"])
def test_without_few_shots_a_reply_is_as_long_as_the_right_one(scorer: ChatScorer, instruction: str) -> None:
    """Which the estimate needs: it is a reply that the question's form allows."""
    for request in asked(scorer, shots="none", instruction=instruction):
        (reply,) = answers(request)
        (judgement, *_) = scorer.read(request, Reply(reply))  # pyright: ignore[reportAttributeAccessIssue]
        assert judgement.verdict == judgement.truth


@pytest.mark.parametrize("kind", [Detection, Fuzzing])
@pytest.mark.parametrize("options", [{"instruction": "last"}, {"instruction": "both", "shots": "none"}])
def test_a_question_in_two_halves_has_the_same_layout(
    kind: type[Detection | Fuzzing], options: dict[str, object]
) -> None:
    """Halves of a question have its instructions at the same place, once."""
    plain = kind.model_validate({"kind": kind.__name__.lower(), "reader": "r"})
    other = kind.model_validate(plain.model_dump() | options)
    for usual, request in zip(asked(plain), asked(plain, **options), strict=True):
        for half, laid_out in zip(plain.halves(usual), other.halves(request), strict=True):
            question = render.instructed(half.messages[-1].text, usual.messages[0].text)
            assert question == laid_out.messages[-1].text
            assert request.messages[:-1] == laid_out.messages[:-1]
            assert (half.key, half.contexts, half.pattern) == (
                laid_out.key,
                laid_out.contexts,
                laid_out.pattern,
            )
