"""Two scorers unlike the built-in ones, to show that the protocol carries them.

Simulation (Bills et al. 2023, all at once): a completion request whose prompt holds the context, a tab and an unknown
number behind each token; the server's log-probabilities at the tabs give the expected activation. Intruder (paper
3.3): four contexts on which the feature fires and one on which it doesn't; which one does not belong?
"""

import math
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.contexts.written import context
from tasks.llm.request import Message, Outcome, Reply, Request, TokenLogprob, Unreadable
from tasks.scorers.base import Judgement, labelled
from tests.tasks.judging import judge

TAB = "\t"


class Simulation(BaseModel):
    """How strong is the feature on each token?"""

    kind: Literal["simulation"] = "simulation"
    name: str = "simulation"
    reader: str = "r"

    def requests(self, key: str, explanation: str, feature: Feature) -> list[Request]:
        """One completion per context, of which nothing but the prompt's log-probabilities is wanted."""
        return [
            Request(
                key=f"{key}/{number}",
                prompt=f"Neuron: {explanation}\n\n"
                + "".join(f"{render.plain(string)}{TAB}unknown\n" for string in one.strings),
                contexts=(one.context,),
                truths=(one.activating,),
                max_tokens=1,
                prompt_logprobs=15,
            )
            for number, one in enumerate(feature.contexts)
        ]

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """The expected activation behind each tab. Raises `Unreadable` when tabs or numbers are missing."""
        behind = [
            after.top
            for before, after in zip(reply.prompt, reply.prompt[1:], strict=False)
            if before.token == TAB
        ]
        if len(behind) != (request.prompt or "").count(TAB):
            msg = f"{len(behind)} tabs in the tokens of the prompt of {request.key}"
            raise Unreadable(msg)
        simulated = tuple(expected(top, request.key) for top in behind)
        ((number, truth),) = zip(request.contexts, request.truths, strict=True)
        return [Judgement(number, truth, simulated=simulated)]


def expected(top: dict[str, float], key: str) -> float:
    """The mean of the numbers 0 to 10 among the alternatives, by their probabilities."""
    weights = {
        int(token): math.exp(logprob) for token, logprob in top.items() if re.fullmatch("10|[0-9]", token)
    }
    if not weights:
        msg = f"no number among the alternatives at a tab of {key}"
        raise Unreadable(msg)
    return sum(number * weight for number, weight in weights.items()) / sum(weights.values())


class Intruder(BaseModel):
    """Which context does not belong? Needs no explanation."""

    kind: Literal["intruder"] = "intruder"
    name: str = "intruder"
    reader: str = "r"

    def requests(self, key: str, explanation: str, feature: Feature) -> list[Request]:
        """Four contexts that activate and one that does not, at a place that changes."""
        active = [one for one in feature.contexts if one.activating]
        silent = [one for one in feature.contexts if not one.activating]
        questions = []
        for number, intruder in enumerate(silent[: len(active) // 4]):
            group = active[4 * number : 4 * number + 4]
            group.insert(number % 5, intruder)
            texts = [render.text(one.strings) for one in group]
            questions.append(
                Request(
                    key=f"{key}/{number}",
                    messages=(Message("user", f"Which one is the intruder?\n\n{render.numbered(texts)}"),),
                    contexts=tuple(one.context for one in group),
                    truths=tuple(one.activating for one in group),
                )
            )
        return questions

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """A verdict on every context: all but the named one belong."""
        named = re.findall(r"\d+", reply.text)
        if len(named) != 1 or not 1 <= int(named[0]) <= len(request.contexts):
            msg = f"no single example is named in the reply to {request.key}"
            raise Unreadable(msg)
        return labelled(request, [place != int(named[0]) for place in range(1, len(request.contexts) + 1)])


class Server:
    """A reader that simulates from the letters of the tokens, and finds the intruder in every second question."""

    async def ask(self, request: Request) -> Outcome:
        if request.prompt is not None:
            reply = Reply(" x", prompt=tuple(_tokens(request.prompt)))
        else:
            number = int(request.key.rsplit("/", 1)[1])
            reply = Reply(f"Example {request.truths.index(False) + 1 if number % 2 else 'unknown'}")
        return Outcome(request, reply, None, "here", "m", 1, 0.0)


def _tokens(prompt: str) -> list[TokenLogprob]:
    """A prompt's tokens as a server splits it, with alternatives that name 8 three times as often as 4 behind an a."""
    pieces = [piece for piece in re.split(r"(\t)", prompt) if piece]
    seen = []
    for place, piece in enumerate(pieces):
        hot = place > 1 and pieces[place - 1] == TAB and pieces[place - 2].endswith("a")
        top = (
            {"8": math.log(0.6), "4": math.log(0.2), "hot": math.log(0.2)} if hot else {"0": 0.0, "the": -9.0}
        )
        seen.append(TokenLogprob(piece, None if place == 0 else -1.0, {} if place == 0 else top))
    return seen


CONTEXTS = [context("a:5| b| a:5", number) for number in range(8)] + [
    context("x| y| z", 8 + number) for number in range(3)
]
FEATURES = {3: ("The letter a.", CONTEXTS)}


def test_a_simulation_is_carried(tmp_path: Path) -> None:
    """Predicted activations arrive in the table token by token, and are neither verdicts nor failures."""
    lake = Lake(tmp_path.as_posix())
    judgements, scores, requests = judge(lake, FEATURES, Simulation(), Server())  # type: ignore[arg-type]
    assert {8: [0.0, 0.0, 0.0]} | {n: [pytest.approx(7.0), 0.0, pytest.approx(7.0)] for n in range(8)} | {
        9: [0.0] * 3,
        10: [0.0] * 3,
    } == {row["context"]: row["simulated"] for row in judgements}
    assert {("ok", None, None)} == {(row["status"], row["verdict"], row["reason"]) for row in judgements}
    assert [(0, 0, None)] == [(row["n"], row["n_failed"], row["balanced_accuracy"]) for row in scores]
    assert 11 == len(requests)


def test_a_simulation_without_log_probabilities_fails_like_any_other(tmp_path: Path) -> None:
    """A server that sends none gives failed rows with the reason."""

    class Silent(Server):
        async def ask(self, request: Request) -> Outcome:
            return Outcome(request, Reply("x"), None, "here", "m", 1, 0.0)

    lake = Lake(tmp_path.as_posix())
    judgements, scores, _ = judge(lake, FEATURES, Simulation(), Silent())  # type: ignore[arg-type]
    assert {"failed"} == {row["status"] for row in judgements}
    assert {None} == {row["simulated"] for row in judgements}
    assert [(0, 11)] == [(row["n"], row["n_failed"]) for row in scores]


def test_an_intruder_is_carried(tmp_path: Path) -> None:
    """One question about five contexts gives five verdicts, or five failures."""
    lake = Lake(tmp_path.as_posix())
    judgements, scores, _ = judge(lake, FEATURES, Intruder(), Server())  # type: ignore[arg-type]
    assert 10 == len(judgements) == len({row["context"] for row in judgements})
    assert {True: "ok", False: "failed"} == {
        row["request"].endswith("/1"): row["status"] for row in judgements
    }
    assert [(5, 5, 1.0)] == [(row["n"], row["n_failed"], row["balanced_accuracy"]) for row in scores]
