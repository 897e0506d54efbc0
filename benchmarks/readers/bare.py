"""What the HTTP client alone costs: gloss' own bodies, encoded beforehand, posted as httpx's documentation shows.

Nothing is done with an answer but to read it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import httpx
from httpx_aiohttp import AiohttpTransport

from benchmarks import child
from benchmarks.meter import Meter
from benchmarks.readers.ours import detection, features, requests
from benchmarks.readers.questions import SHOWN
from benchmarks.readers.server import pin
from tasks.llm.openai.encode import encode


async def _post_all(client: httpx.AsyncClient, url: str, bodies: Iterable[bytes], in_flight: int) -> int:
    """Post bodies, so many at once; returns how many were answered."""
    waiting = iter(bodies)

    async def worker() -> int:
        answered = 0
        for body in waiting:
            response = await client.post(url, content=body)
            answered += response.status_code == httpx.codes.OK and bool(response.content)
        return answered

    return sum(await asyncio.gather(*(worker() for _ in range(in_flight))))


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """Post the request's number of questions, after some that are not measured."""
    pin(0)
    count, in_flight = request["questions"], request["in_flight"]
    asked = requests(detection(SHOWN), features(count, SHOWN))
    calls = [encode((question,), "tiny") for question in islice(asked, count)]
    bodies, url = [call.body for call in calls], request["url"] + calls[0].path

    async def run() -> tuple[int, dict[str, float]]:
        transport = AiohttpTransport(limits=httpx.Limits(max_connections=in_flight))
        headers = {"Content-Type": "application/json"}
        async with httpx.AsyncClient(transport=transport, headers=headers, trust_env=False) as client:
            await _post_all(client, url, bodies[: 2 * in_flight], in_flight)
            with Meter() as meter:
                answered = await _post_all(client, url, bodies, in_flight)
        return answered, meter.used()

    answered, used = asyncio.run(run())
    return {**used, "answered": answered}


if __name__ == "__main__":
    child.serve(answer)
