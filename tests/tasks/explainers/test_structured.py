"""The explainer that asks for JSON."""

import asyncio
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.lake import Lake
from tasks.explainers.structured import Structured
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Outcome, Reply, RequestKey, Unreadable
from tasks.llm.request_log import RequestOrigin, request_rows
from tests.tasks.explainers.every import WHOLE
from tests.tasks.explainers.explaining import Fake, explain
from tests.tasks.llm.faulty_server import faulty_server
from tests.tasks.toys import reading

STRUCTURED = Structured(kind="structured", reader="r")
(REQUEST,) = STRUCTURED.requests(RequestKey(7, 0), WHOLE)
GOOD = {
    "components": [
        {"pattern": "ordinal numbers", "strength": 3},
        {"pattern": " the word\n lighthouse. ", "strength": 9},
    ],
    "scope": "stories of the sea.",
    "confidence": 0.5,
}


ONE = json.dumps({**GOOD, "components": GOOD["components"][1:], "scope": None})


def json_reply(**changes: object) -> Reply:
    return reading(json.dumps({**GOOD, **changes}))


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            json_reply(),
            "Any of: the word lighthouse; weakly, ordinal numbers. Only in: stories of the sea.",
        ),
        (json_reply(scope=None), "Any of: the word lighthouse; weakly, ordinal numbers."),
        (
            json_reply(components=GOOD["components"][1:], scope=None, confidence=1),
            "The word lighthouse.",
        ),
        (
            reading(f"```json\n{json.dumps({**GOOD, 'scope': None})}\n```\n"),
            "Any of: the word lighthouse; weakly, ordinal numbers.",
        ),
    ],
)
def test_components_become_a_sentence(reply: Reply, sentence: str) -> None:
    """The strongest first, weak ones called so, the scope after them."""
    assert sentence == STRUCTURED.read(REQUEST, reply)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (reading("EXPLANATION: Lighthouses."), "expected"),
        (reading(f"Here it is: {json.dumps(GOOD)}"), "expected"),
        (reading(json.dumps(GOOD)[:-9], "length"), "cut off at max_tokens"),
        (json_reply(certainty=1), "certainty: Extra inputs"),
        (reading(json.dumps({"components": GOOD["components"]})), "scope: Field required"),
        (json_reply(components=[]), "components: List should have at least 1"),
        (json_reply(components=["lighthouse"]), "components.0: Input should be an object"),
        (json_reply(components=[{"pattern": " ", "strength": 3}]), "components.0.pattern: String should have at least"),
        (json_reply(components=[{"pattern": "x", "strength": "9"}]), "components.0.strength: Input should be a valid"),
        (json_reply(components=[{"pattern": "x", "strength": 11}]), "components.0.strength"),
        (json_reply(confidence=1.01), "confidence: Input should be less than or equal to 1"),
        (json_reply(confidence="high"), "confidence: Input should be a valid number"),
        (json_reply(confidence=float("nan")), "confidence"),
        (json_reply(scope=["sea"]), "scope: Input should be a valid string"),
        (reading("[]"), "Input should be an object"),
    ],
)  # fmt: skip
def test_anything_else_is_unreadable(reply: Reply, reason: str) -> None:
    """The reason names the key that is wrong."""
    with pytest.raises(Unreadable, match="not the JSON that was asked for in the reply to 7/0") as error:
        STRUCTURED.read(REQUEST, reply)
    assert reason in str(error.value)


@given(st.text(max_size=60))
def test_no_text_but_json_is_read(text: str) -> None:
    """Whatever comes, it is a structure or unreadable."""
    with pytest.raises(Unreadable):
        STRUCTURED.read(REQUEST, reading(text))


def test_the_json_is_kept_beside_the_sentence(tmp_path: Path) -> None:
    """SQL can ask for the confidence."""
    lake = Lake(str(tmp_path))
    (row,), _ = explain(lake, [WHOLE], STRUCTURED, {"r": Fake(lambda _: json.dumps(GOOD))})
    assert 0.5 == json.loads(row["structure"])["confidence"]
    assert row["text"].startswith("Any of: the word lighthouse")
    with lake.connect() as connection:
        result = connection.execute("select (?->>'confidence')::double", [row["structure"]]).fetchone()
    assert (0.5,) == result


def test_replies_are_held_to_the_schema() -> None:
    """The few-shot answers and whatever is read keep to it, in the order in which the keys are written."""
    assert REQUEST.schema is not None
    schema = json.loads(REQUEST.schema)
    check = jsonschema.Draft202012Validator(schema)
    for turn in (*REQUEST.messages[2::2], reading(json.dumps(GOOD)), reading(ONE)):
        answer = json.loads(turn.text)
        check.validate(answer)
        assert list(schema["properties"]) == list(answer)
    for name in schema["required"]:
        assert not check.is_valid({key: value for key, value in GOOD.items() if key != name})
    for wrong in ({"certainty": 1}, {"components": []}, {"confidence": 2}, {"scope": ["sea"]}):
        assert not check.is_valid({**GOOD, **wrong})
    assert "description" not in REQUEST.schema


def test_nothing_is_held_where_it_is_not_wanted() -> None:
    """And the turns stay what they are."""
    (free,) = STRUCTURED.model_copy(update={"held": False}).requests(RequestKey(7, 0), WHOLE)
    assert not free.held
    assert REQUEST.messages == free.messages


@pytest.mark.parametrize("way", ["structured_outputs", "response_format", "plain"])
def test_the_ledger_says_how_a_reply_was_held(way: str) -> None:
    """The schema goes out in the server's own field, and the reply is read alike."""

    async def run() -> Outcome:
        async with OpenAIReader(urls=[server.url], model="tiny").open() as client:
            return await client.ask(REQUEST)

    with faulty_server(answer=lambda _body: ONE, holds=way) as server:
        outcome = asyncio.run(run())
        sent = server.requests[-1]
    (row,) = request_rows(RequestOrigin("toy", "explain", "structured", "r"), [outcome])
    assert way == row["structured"]
    assert outcome.reply is not None
    read = "The word lighthouse." if way == "plain" else "Weakly, words. Only in: words."
    assert read == STRUCTURED.read(REQUEST, outcome.reply)
    fields = {
        "structured_outputs": {"json": json.loads(REQUEST.schema or "")},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": json.loads(REQUEST.schema or ""), "strict": True},
        },
    }
    assert {name: fields[name] for name in fields if name == way} == {
        name: sent[name] for name in fields if name in sent
    }
