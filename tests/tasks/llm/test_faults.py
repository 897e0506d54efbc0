"""Nothing is lost and nothing is made up, however servers err: from questions over real sockets to verdicts."""

import asyncio
import json
import re
from contextlib import ExitStack
from hashlib import sha256

from tasks.contexts.context import Feature, context
from tasks.llm.dispatch import ask_all
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import RequestKey
from tasks.scorers.base import read_judgements
from tasks.scorers.detection import Detection
from tests.tasks.llm.faulty_server import (
    TRANSIENT,
    Answer,
    Behaviour,
    Body,
    Fault,
    faulty_server,
    mixture,
    refusing_port,
)
from tests.tasks.llm.openai_replies import completion, with_choice

FEATURES, CONTEXTS = 50, 100
FAULTS = (*TRANSIENT, Fault.STALL, Fault.STALL_MIDWAY)
SCORER = Detection(kind="detection", reader="judge", shown=5)


def verdict(text: str) -> int:
    """What the servers think of an example: it depends on all of its text."""
    return sha256(text.strip().encode()).digest()[0] % 2


def shown(body: Body) -> list[str]:
    question = body["messages"][-1]["content"]
    return re.findall(r"^Example \d+: (.*)$", question, re.MULTILINE)


def rightly(body: Body) -> str:
    return json.dumps([verdict(text) for text in shown(body)])


def wrongly(body: Body) -> str:
    return json.dumps([1 - verdict(text) for text in shown(body)])


def a_quarter_faulted(seed: int) -> Behaviour:
    """Whatever else than a right answer comes says the opposite of what is right."""
    faults = mixture(seed, 0.25, FAULTS)

    def behave(number: int, body: Body) -> Answer:
        fault = faults(number, body)
        if fault in (Fault.ABORTED, Fault.UNFINISHED):
            reason = "abort" if fault is Fault.ABORTED else None
            return with_choice(completion(body, wrongly(body)), finish_reason=reason)
        return fault

    return behave


def features() -> list[Feature]:
    return [
        Feature(
            number,
            1.0,
            tuple(
                context(f"the|{' x' * (place % 3)}| {number}| and| {place}", place)
                for place in range(CONTEXTS)
            ),
        )
        for number in range(FEATURES)
    ]


def test_five_thousand_verdicts_survive_a_quarter_of_faults_and_a_dead_endpoint() -> None:
    """All of them come, each the right one for its own context; as many tries as a reader has by default do."""

    async def run() -> list[tuple[int, bool | None, str | None, int]]:
        async with config.open() as client:
            asked = (
                request
                for feature in wanted
                for request in SCORER.requests(RequestKey(feature.feature, 0), "x", feature)
            )
            outcomes = await ask_all(client, asked)
        return [
            (int(outcome.request.key.split("/")[0]), judged.verdict, judged.reason, judged.context)
            for outcome in outcomes
            for judged in read_judgements(SCORER, outcome)
        ]

    wanted = features()
    with ExitStack() as servers:
        first = servers.enter_context(faulty_server(a_quarter_faulted(1), rightly, retry_after=0.01))
        second = servers.enter_context(faulty_server(a_quarter_faulted(2), rightly, retry_after=0.01))
        dead = servers.enter_context(refusing_port())
        config = OpenAIReader(
            urls=[first.url, dead, second.url],
            model="tiny",
            in_flight=64,
            read_timeout=0.5,
            connect_timeout=0.5,
            max_backoff=0.1,
        )
        rows = asyncio.run(run())
    assert [reason for _, _, reason, _ in rows if reason] == []
    expected = {
        (feature.feature, context.context): bool(verdict("".join(context.strings)))
        for feature in wanted
        for context in feature.contexts
    }
    assert len(expected) == 5_000
    assert {(feature, context): judged for feature, judged, _, context in rows} == expected
