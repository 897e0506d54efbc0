"""Verdicts of both systems on the same windows, window by window, and why some differ."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import child
from benchmarks.agreement.cases import SHOWN, Case
from benchmarks.agreement.verdict import verdict
from benchmarks.peers import Peers
from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.visible import shown_together
from tasks.explainers.best_of import balanced_accuracy
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_all
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers.base import JudgedExplanation, Judgement, read_judgements
from tasks.scorers.fuzzing import Fuzzing

Verdicts = Mapping[tuple[int, bool], bool | None]
"""By the window's number and whether it counts as a positive; null where a reply could not be read."""

_LINE = re.compile(r"^Example \d+: (.*)$", re.MULTILINE)


class Pair(NamedTuple):
    """What both systems made of one feature's windows."""

    feature: int
    ours: Verdicts
    theirs: Verdicts

    @property
    def unequal(self) -> list[tuple[int, bool]]:
        """Windows whose verdicts differ, or that one system alone asks about."""
        return sorted(key for key in self.ours.keys() | self.theirs.keys() if not self._same(key))

    def _same(self, key: tuple[int, bool]) -> bool:
        missing = object()
        return self.ours.get(key, missing) == self.theirs.get(key, missing)

    @property
    def scores(self) -> tuple[float, float]:
        """The balanced accuracies of gloss and of delphi."""
        scored = []
        for verdicts in (self.ours, self.theirs):
            judged = [Judgement(number, truth, given) for (number, truth), given in verdicts.items()]
            score = balanced_accuracy(judged)
            assert score is not None
            scored.append(score)
        return scored[0], scored[1]


class Deterministic(Reader):
    """Answers with the deterministic reader's verdicts."""

    async def ask(self, request: Request) -> Outcome:
        """A list with a verdict on each example of the question."""
        text = request.messages[-1].text
        question = render.read_question(text)
        assert question is not None
        labels = [int(verdict(question.description or "", line)) for line in _LINE.findall(text)]
        return Outcome(request, Reply(json.dumps(labels)), None, "here", "deterministic", 1, 0.0)


def ours(case: Case, posed: Sequence[JudgedExplanation]) -> list[Verdicts]:
    """gloss' verdicts on each feature's windows."""
    judged: list[Verdicts] = []
    for about in posed:
        requests = case.scorer.requests(about.key, about.text, about.feature)
        outcomes = asyncio.run(ask_all(Deterministic(), requests))
        rows = [row for outcome in outcomes for row in read_judgements(case.scorer, outcome)]
        judged.append({(row.context, row.truth): row.verdict for row in rows})
    return judged


def split_marks(case: Case, feature: Feature) -> set[tuple[int, bool]]:
    """Windows in which either system marks a part of a character that is split over tokens; none are in detection.

    delphi marks the token alone, whose text may be none; gloss marks the character where any of its tokens fires.
    """
    split = set()
    for scorer in (case.scorer, case.paper):
        if isinstance(scorer, Fuzzing):
            shown = scorer.posed(feature)
            places = scorer.marked_places(feature, shown)
            split |= {
                (context.context, context.activating)
                for context in shown
                if _is_split(context, places(context))
            }
    return split


def _is_split(context: Context, marked: Sequence[int]) -> bool:
    runs = [range(len(context.strings))[run] for run in shown_together(context.strings)]
    return any(place in run for run in runs if len(run) > 1 for place in marked)


def theirs(
    case: Case, posed: Sequence[JudgedExplanation], peers: Peers, threads: int
) -> tuple[list[Verdicts], Mapping[str, str]]:
    """delphi's verdicts on each feature's windows, and its version."""
    shown = [[context for context in about.feature.contexts if _given(case, context)] for about in posed]
    request = {
        "kind": case.options["kind"],
        "options": dict(case.peer),
        "shown": SHOWN,
        "features": [
            {"explanation": about.text, "windows": [_window(context) for context in contexts]}
            for about, contexts in zip(posed, shown, strict=True)
        ],
    }
    reply: dict[str, Any] = child.run(
        "benchmarks.agreement.delphi_peer", request, threads=threads, python=peers.python, path=peers.path
    )
    judged: list[Verdicts] = [
        {(contexts[place].context, truth): given for place, truth, given in rows}
        for contexts, rows in zip(shown, reply["judged"], strict=True)
    ]
    return judged, reply["versions"]


def _given(case: Case, context: Context) -> bool:
    return context.activating or (context.kind == "random" and "fuzz_type" not in case.peer)


def _window(context: Context) -> dict[str, object]:
    return {
        "strings": context.strings,
        "activations": context.activations,
        "activating": context.activating,
    }
