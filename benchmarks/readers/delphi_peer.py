"""delphi's way from contexts to verdicts, in the peers' environment: its detection scorer on its OpenRouter client.

The client is as it ships, HTTP library and its limits included; the requests under way are bounded outside of it.
"""

import asyncio
import importlib
import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from benchmarks import child
from benchmarks.meter import Meter
from benchmarks.peers import without_init
from benchmarks.readers.questions import EXPLANATION, SHOWN, windows
from benchmarks.readers.server import pin


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Ask the request's number of questions, after some that are not measured."""
    pin(0)
    logging.disable()
    without_init("delphi.scorers")
    clients = importlib.import_module("delphi.clients.openrouter")
    detection = importlib.import_module("delphi.scorers.classifier.detection")
    samples = importlib.import_module("delphi.scorers.classifier.sample")

    async def run() -> tuple[int, dict[str, float]]:
        client = clients.OpenRouter("tiny", "none", base_url=f"{request['url']}/chat/completions")
        scorer = detection.DetectionScorer(client, n_examples_shown=SHOWN)
        gate = asyncio.Semaphore(request["in_flight"])

        async def count_verdicts(question: int) -> int:
            about = [
                samples.Sample("".join(tokens), samples.ClassifierOutput(tokens, [], 0, place % 2 == 1))
                for place, tokens in enumerate(windows(question))
            ]
            async with gate:
                # The method that `DetectionScorer` itself calls for each question.
                given = await scorer._generate(EXPLANATION, about)  # noqa: SLF001
            return sum(output.prediction is not None for output in given)

        await asyncio.gather(*(count_verdicts(question) for question in range(2 * request["in_flight"])))
        with Meter() as meter:
            read = await asyncio.gather(
                *(count_verdicts(question) for question in range(request["questions"]))
            )
        return sum(count == SHOWN for count in read), meter.used()

    answered, used = asyncio.run(run())
    versions = {"eai-delphi": version("eai-delphi"), "delphi's httpx": version("httpx")}
    return {**used, "answered": answered, "versions": versions}


if __name__ == "__main__":
    child.serve(answer)
