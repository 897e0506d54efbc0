"""The form of replies that are nothing but labels: who holds to it, and that no right reply is shut out."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.dispatch import ask_all
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Outcome, Request, RequestKey
from tasks.llm.request_log import RequestOrigin, request_rows
from tasks.scorers.base import read_judgements
from tasks.scorers.chat import list_of
from tasks.scorers.detection import Detection
from tasks.scorers.discrimination import Discrimination
from tasks.scorers.fuzzing import Fuzzing
from tasks.scorers.intruder import Intruder
from tasks.scorers.saebench import SAEBench
from tests.tasks.llm.faulty_server import faulty_server
from tests.tasks.toys import HARBOUR, reading

Held = Detection | Fuzzing | Discrimination | Intruder | SAEBench

DETECTION = Detection(kind="detection", reader="r")
SCORERS: Mapping[str, Held] = {
    "detection": DETECTION,
    "detection, one at a time": Detection(kind="detection", reader="r", shown=1),
    "detection, many at a time": Detection(kind="detection", reader="r", shown=20),
    "fuzzing": Fuzzing(kind="fuzzing", reader="r"),
    "fuzzing, one at a time": Fuzzing(kind="fuzzing", reader="r", shown=1),
    "discrimination": Discrimination(kind="discrimination", reader="r"),
    "discrimination among three": Discrimination(kind="discrimination", reader="r", others=2),
    "intruder": Intruder(kind="intruder", reader="r"),
    "saebench": SAEBench(kind="saebench", reader="r"),
}
EACH = pytest.mark.parametrize("scorer", SCORERS.values(), ids=list(SCORERS))
LOGPROBS = pytest.mark.parametrize(
    "kind", [Detection, Fuzzing, Discrimination, Intruder], ids=lambda kind: kind.__name__
)


def asked(scorer: Held, **options: object) -> list[Request]:
    again = type(scorer).model_validate(scorer.model_dump() | options)
    return again.requests(RequestKey(7, 0, "none"), "Lighthouses.", HARBOUR)


def allows(request: Request, text: str) -> bool:
    """Whether the form of a request lets this reply pass."""
    if request.pattern is None:
        return text in request.choices
    return re.fullmatch(request.pattern, text) is not None


def right(scorer: Held, request: Request) -> str:
    """The right reply, as the prompt asks for it."""
    if request.right is not None:
        return str(request.right)
    labels = [int(truth) for truth in request.truths]
    if isinstance(scorer, SAEBench):
        return json.dumps([number for number, label in enumerate(labels, start=1) if label])
    return json.dumps(labels[0] if getattr(scorer, "shown", None) == 1 else labels)


@EACH
def test_a_right_reply_is_allowed(scorer: Held) -> None:
    """That to every live question, and those of the few-shot turns where they show as many contexts."""
    for request in asked(scorer):
        assert request.held
        assert allows(request, right(scorer, request))
    whole = asked(scorer)[0]
    shown = whole.messages[-1].text.count("\nExample ")
    turns = whole.messages[1:-1]
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        if question.text.count("\nExample ") == shown:
            assert allows(whole, answer.text)


@EACH
@pytest.mark.parametrize("text", ['"1"', "[true]", "[2]", "{}", "[0, 1, 1, 0, 15]", "17", "[[0]]"])
def test_others_are_not(scorer: Held, text: str) -> None:
    """Words, and numbers that no context has."""
    if not (isinstance(scorer, SAEBench) and text == "[2]"):
        assert not any(allows(request, text) for request in asked(scorer))


@EACH
@given(data=st.data())
def test_what_is_allowed_can_be_read(scorer: Held, data: st.DataObject) -> None:
    """Each context gets a verdict, whichever of the allowed replies comes."""
    request = data.draw(st.sampled_from(asked(scorer)))
    if request.pattern is None:
        text = data.draw(st.sampled_from(request.choices))
    else:
        text = data.draw(st.from_regex(request.pattern, fullmatch=True))
        json.loads(text)
    rows = scorer.read(request, reading(text))
    assert request.contexts == tuple(row.context for row in rows)
    assert None not in [row.verdict for row in rows]


def test_the_last_question_of_a_feature_may_show_one_context() -> None:
    """It wants a list all the same."""
    *_, last = asked(DETECTION, shown=len(HARBOUR.contexts) - 1)
    assert allows(last, "[0]")
    assert allows(last, "[1]")
    assert not allows(last, "0")


@given(st.integers(0, 4), st.integers(1, 20), st.lists(st.integers(0, 22), max_size=25), st.data())
def test_a_list_is_as_long_as_it_must_be(
    least: int, most: int, numbers: list[int], data: st.DataObject
) -> None:
    """And of the numbers that it may have, as JSON writes it without an option."""
    most = max(least, most)
    allowed = data.draw(st.sampled_from([(0, 1), tuple(range(1, 15))]))
    form = list_of(allowed, least, most)
    assert form.pattern is not None
    fits = least <= len(numbers) <= most and {*numbers} <= {*allowed}
    assert fits == bool(re.fullmatch(form.pattern, json.dumps(numbers)))
    right = data.draw(st.lists(st.sampled_from(allowed), min_size=least, max_size=most))
    assert re.fullmatch(form.pattern, json.dumps(right))
    assert not re.fullmatch(form.pattern, json.dumps([*right, *[allowed[0]] * most, 1]))


@LOGPROBS
def test_questions_with_log_probabilities_are_held_too(kind: type[Held]) -> None:
    """To the same form as without, unless the option says otherwise."""
    options = {"kind": kind.__name__.lower(), "reader": "r"}
    plain = kind.model_validate(options).requests(RequestKey(7, 0, "none"), "x", HARBOUR)
    for held in (None, True):
        asked = kind.model_validate(options | {"logprobs": True, "held": held})
        result = asked.requests(RequestKey(7, 0, "none"), "x", HARBOUR)
        assert {(True, 5)} == {(request.held, request.top_logprobs) for request in result}
        assert [(item.choices, item.pattern) for item in plain] == [
            (item.choices, item.pattern) for item in result
        ]
    free = kind.model_validate(options | {"logprobs": True, "held": False})
    assert not any(request.held for request in free.requests(RequestKey(7, 0, "none"), "x", HARBOUR))


@EACH
def test_nothing_is_held_where_it_is_not_wanted(
    scorer: Held, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By the option; or since another prompt may ask for another form, unless the option says that it does not."""
    file = tmp_path_factory.mktemp("prompts") / "mine.txt"
    file.write_text("Think first, then answer.")
    for options, held in (
        ({"held": False}, False),
        ({"prompt": str(file)}, False),
        ({"prompt": str(file), "held": True}, True),
        ({"held": True}, True),
    ):
        assert {held} == {request.held for request in asked(scorer, **options)}


@EACH
def test_the_form_is_all_that_differs(scorer: Held) -> None:
    """The turns are the same, so that a server that holds nothing answers the same."""
    for held, free in zip(asked(scorer), asked(scorer, held=False), strict=True):
        assert held.messages == free.messages
        assert held.fingerprint != free.fingerprint


def ledger(scorer: Held, holds: str | None, answer: str) -> tuple[list[Outcome], list[object]]:
    """Outcomes from a server, and what the ledger says of how they were held."""

    async def run() -> list[Outcome]:
        async with OpenAIReader(urls=[server.url], model="tiny").open() as client:
            return await ask_all(client, asked(scorer))

    with faulty_server(answer=lambda _body: answer, holds=holds) as server:
        outcomes = asyncio.run(run())
    rows = request_rows(RequestOrigin("toy", "score", scorer.name, "r"), outcomes)
    return outcomes, [row["structured"] for row in rows]


def verdicts(scorer: Held, outcomes: Sequence[Outcome]) -> list[bool | None]:
    return [row.verdict for outcome in outcomes for row in read_judgements(scorer, outcome)]


@pytest.mark.parametrize(
    ("scorer", "holds", "way"),
    [
        ("detection", "structured_outputs", "structured_outputs"),
        ("detection, one at a time", "structured_outputs", "structured_outputs"),
        ("detection, many at a time", "structured_outputs", "structured_outputs"),
        ("intruder", "structured_outputs", "structured_outputs"),
        ("saebench", "structured_outputs", "structured_outputs"),
        ("detection", None, "plain"),
        ("saebench", None, "plain"),
        ("intruder", "response_format", "plain"),
    ],
)
def test_the_ledger_says_how_replies_were_held(scorer: str, holds: str | None, way: str) -> None:
    """A server that can, lets nothing else pass; one that cannot, says what it likes."""
    outcomes, message = ledger(SCORERS[scorer], holds, "I cannot tell.")
    assert [way] * len(outcomes) == message
    assert {way == "plain"} == {verdict is None for verdict in verdicts(SCORERS[scorer], outcomes)}


def test_a_server_that_holds_nothing_is_read_as_before() -> None:
    """The same judgements as without a form."""
    free = Detection(kind="detection", reader="r", held=False)
    for answer in ("[0, 1, 1, 0, 1]", "The answer: [1, 0, 0, 0, 1].", "I cannot tell."):
        held, message = ledger(DETECTION, None, answer)
        before, nothing = ledger(free, None, answer)
        assert verdicts(free, before) == verdicts(DETECTION, held)
        assert ({"plain"}, {None}) == (set(message), set(nothing))
