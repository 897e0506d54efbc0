"""delphi's scorers, in the peers' environment: windows as its records hold them, and a client that needs no network."""

import asyncio
import importlib
import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from benchmarks import child
from benchmarks.agreement.verdict import verdict
from benchmarks.peers import without_init

SCORERS = {"detection": ("detection", "DetectionScorer"), "fuzzing": ("fuzz", "FuzzingScorer")}
"""Module and class of each, by gloss' name of its kind."""
_BEFORE, _BETWEEN = "Latent explanation: ", "\n\nText examples:\n\n"


def examples(text: str) -> list[str]:
    """The examples of a question, which may have several lines each."""
    shown: list[str] = []
    rest = text.removeprefix("Example 0: ")
    while f"\nExample {len(shown) + 1}: " in rest:
        example, _, rest = rest.partition(f"\nExample {len(shown) + 1}: ")
        shown.append(example)
    return [*shown, rest.removesuffix("\n")]


def answer(request: dict[str, Any]) -> Mapping[str, object]:
    """The verdict on each window of each feature: its place in the request, whether it is a positive, the verdict."""
    logging.disable()
    without_init("delphi.scorers")
    client = importlib.import_module("delphi.clients.client")
    latents = importlib.import_module("delphi.latents.latents")
    module, name = SCORERS[request["kind"]]
    scorers = importlib.import_module(f"delphi.scorers.classifier.{module}")

    class Deterministic(client.Client):
        async def generate(self, prompt: list[dict[str, str]], **_options: object) -> object:
            explanation, _between, shown = prompt[-1]["content"].removeprefix(_BEFORE).partition(_BETWEEN)
            return client.Response(json.dumps([int(verdict(explanation, text)) for text in examples(shown)]))

    scorer = getattr(scorers, name)(
        Deterministic("deterministic"), n_examples_shown=request["shown"], **request["options"]
    )

    def record(about: dict[str, Any]) -> Any:
        made = latents.LatentRecord(latents.Latent("site", 0), explanation=about["explanation"])
        for window in about["windows"]:
            strings = window["strings"]
            known: dict[str, Any] = {
                "tokens": torch.zeros(len(strings), dtype=torch.int64),
                "activations": torch.tensor(window["activations"], dtype=torch.float64),
                "str_tokens": strings,
            }
            if window["activating"]:
                made.test.append(latents.ActivatingExample(**known))
            else:
                made.not_active.append(latents.NonActivatingExample(**known))
        return made

    def judged(about: dict[str, Any]) -> list[tuple[int, bool, bool | None]]:
        places = {
            (*window["strings"], *window["activations"]): place
            for place, window in enumerate(about["windows"])
        }
        result = asyncio.run(scorer(record(about))).score
        return [
            (places[*output.str_tokens, *output.activations], output.activating, output.prediction)
            for output in result
        ]

    versions = {"eai-delphi": version("eai-delphi")}
    return {"judged": [judged(about) for about in request["features"]], "versions": versions}


if __name__ == "__main__":
    child.serve(answer)
