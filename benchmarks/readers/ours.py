"""gloss' own way from contexts to verdicts: detection's questions, the client, detection's reading of replies."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks import child
from benchmarks.meter import Meter
from benchmarks.readers.one_by_one import OneByOne
from benchmarks.readers.questions import EXPLANATION, SHOWN, windows
from benchmarks.readers.server import pin
from storage.lake import Lake
from storage.layout import Range
from storage.replies import ReplyStore
from tasks.contexts.context import Context, Feature
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_all
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.reply_cache import CachingReader
from tasks.llm.request import Outcome, Request, RequestKey
from tasks.scorers.base import read_judgements
from tasks.scorers.detection import Detection

_QUESTIONS = 20
"""Groups of windows that make one feature: 100 contexts, as a run has them."""


def feature(number: int) -> Feature:
    """A feature with its contexts; every other one counts as activating."""
    contexts = []
    for question in range(number * _QUESTIONS, (number + 1) * _QUESTIONS):
        for tokens in windows(question):
            kind = "activating" if len(contexts) % 2 else "random"
            silent = (0.0,) * len(tokens)
            contexts.append(Context(len(contexts), kind, None, tuple(tokens), silent))
    return Feature(number, 1.0, tuple(contexts))


def features(questions: int, shown: int) -> list[Feature]:
    """Features with as many contexts as so many questions about `shown` contexts each take."""
    return [feature(number) for number in range(-(-questions * shown // (_QUESTIONS * SHOWN)))]


def detection(shown: int) -> Detection:
    """The scorer whose questions are asked."""
    return Detection(kind="detection", reader="judge", shown=shown)


def requests(scorer: Detection, about: Iterable[Feature]) -> Iterator[Request]:
    """The scorer's questions about an explanation of each feature."""
    for explained in about:
        yield from scorer.requests(RequestKey(explained.feature, 0, "none"), EXPLANATION, explained)


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Ask the request's number of questions, after some that are not measured.

    `shown` says about how many contexts each is, and `lists` whether those that belong together go in one call.
    """
    pin(0)
    shown = request.get("shown", SHOWN)
    scorer = detection(shown)
    reader = OpenAIReader(urls=[request["url"]], model="tiny", in_flight=request["in_flight"])
    about = features(request["questions"], shown)

    async def kept(client: Reader) -> list[Outcome]:
        if "lake" not in request:
            return await ask_all(client, requests(scorer, about))

        def shelf(identity: str, first: int, end: int) -> ReplyStore:
            return ReplyStore(Lake(request["lake"]), identity, Range(first, end))

        remembering = CachingReader(client, reader.identity(), "measured", shelf)
        async with remembering.about(0, len(about)):
            return await ask_all(remembering, requests(scorer, about))

    async def run() -> tuple[int, dict[str, float]]:
        async with reader.open() as opened:
            client = opened if request.get("lists", True) else OneByOne(opened)
            await ask_all(client, requests(scorer, about[: len(features(2 * request["in_flight"], shown))]))
            with Meter() as meter:
                outcomes = await kept(client)
                read = [judgement for outcome in outcomes for judgement in read_judgements(scorer, outcome)]
        assert all(judgement.verdict is not None for judgement in read)
        return len(outcomes), meter.used()

    answered, used = asyncio.run(run())
    return {**used, "answered": answered}


if __name__ == "__main__":
    child.serve(answer)
