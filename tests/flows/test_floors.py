"""What a reader gets without the explanation is in the printed floors, and no score that is due to it is above them.

Features are invented on the demo's text: each fires on one word, most of them only soon after a comma. So a comma in an
example, or before its mark, is a real cue: it tells most features' windows from others, whatever the explanation says.
"""

import asyncio
import io
import json
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pytest

from flows import explain, llm_stage, parts, run, sample, score
from flows.config import RunConfig
from flows.llm_stage import Findings
from flows.plan import Plan
from flows.report import Report, show
from flows.report_scores import LEVEL, Line, ends
from flows.terminal import console
from storage import runs
from tasks.contexts import render
from tasks.contexts.render import Question, Shown
from tasks.explain import explain_bucket
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request
from tasks.metrics import Estimate, margin
from tasks.score import judge_bucket
from tests.benchmarks.surface.invented import tokens, write
from tests.flows.command import TINY

pytestmark = pytest.mark.slow

FEATURES = 50
RARE, FREQUENT = 50, 1_000
"""Firings of a feature at least and at most, of those that fire only soon after a comma."""
SOON = 8
"""Tokens after a comma that are soon after it."""
ERRS = 0.1
"""Share of verdicts that a reader has wrong by chance."""
FEW = 3
"""Examples with a word, of 15, that are too few for it to be what the feature fires on."""
READERS = ("cue", "wary", "told")
SCORERS = ("detection", "fuzzing")
DESCRIBED = re.compile('"([a-z]+)"')


def _word(example: Shown, word: str) -> bool:
    """Whether an example has a word, marked where anything is."""
    there = [span for span, _ in example.spans] or [example.text]
    return any(word in re.findall("[a-z]+", part.lower()) for part in there)


def _comma(example: Shown) -> bool:
    """The cue: whether an example has a comma, before its last mark where it has any."""
    end = max((start for _, start in example.spans), default=len(example.text))
    return "," in example.text[:end]


def _verdicts(reader: str, question: Question) -> list[bool]:
    """What a reader makes of a question, before it errs.

    `cue` never reads the description. `wary` says no to all where hardly any example has the word that is described,
    and else goes by the cue. `told` goes by the word, and where none is described by the cue.
    """
    described = DESCRIBED.search(question.description or "")
    has_word = [described is not None and _word(example, described[1]) for example in question.examples]
    if reader == "told" and described:
        return has_word
    if reader == "wary" and described and sum(has_word) < FEW:
        return [False] * len(has_word)
    return [_comma(example) for example in question.examples]


class Surface(Reader):
    """Answers as one of `READERS` does; which verdicts it has wrong depends on a hash of the question alone."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def ask(self, request: Request) -> Outcome:
        asked = request.messages[-1].text
        question = render.read_question(asked)
        assert question is not None
        draw = random.Random(sha256(f"{self._name} {asked}".encode()).hexdigest())
        verdicts = [each != (draw.random() < ERRS) for each in _verdicts(self._name, question)]
        reply = json.dumps(list(map(int, verdicts)))
        return Outcome(request, Reply(reply), None, "here", self._name, 1, 0.0)


@asynccontextmanager
async def _open(_config: RunConfig, name: str, _findings: Findings) -> AsyncIterator[Reader]:
    yield Surface(name)


def _config(folder: Path) -> dict[str, object]:
    scorers = [
        {"kind": kind, "name": f"{kind}_{reader}", "reader": reader, "kinds": ["silent"], "shown": 15}
        for reader in READERS
        for kind in SCORERS
    ]
    return {
        **TINY,
        "run": "floors",
        "lake": f"{folder}/lake",
        "features": {"choose": "all"},
        "sample": {
            "window": 16,
            "explain": 10,
            "per_decile": 3,
            "negatives": [{"kind": "silent", "n": 30}],
            "min_firings": RARE,
        },
        "explainers": [{"kind": "import", "path": f"{folder}/words.jsonl", "format": "jsonl"}],
        "scorers": scorers,
        "readers": {name: {"kind": "baseline"} for name in READERS},
        "runner": {"kind": "threads", "bucket": FEATURES},
    }


def _firing() -> tuple[list[int], list[str], dict[str, list[int]]]:
    """The demo's tokens with their texts, and words with the places where their feature fires.

    Every third fires wherever it stands, the others only soon after a comma.
    """
    ids, strings = tokens()
    after: dict[str, list[int]] = defaultdict(list)
    every: dict[str, list[int]] = defaultdict(list)
    for place, string in enumerate(strings):
        if re.fullmatch(" [a-z]{2,}", string):
            every[string.strip()].append(place)
            if any("," in before for before in strings[max(place - SOON, 0) : place]):
                after[string.strip()].append(place)
    words = sorted(word for word, there in after.items() if RARE <= len(there) <= FREQUENT)
    chosen = random.Random(1).sample(words, FEATURES)
    return ids, strings, {word: (after if number % 3 else every)[word] for number, word in enumerate(chosen)}


class Ran(NamedTuple):
    """A finished run."""

    report: Report
    numbers: dict[str, dict[str, np.ndarray]]
    """By scorer: score, both floors and q of each feature, of the view `summary`."""

    def line(self, scorer: str) -> Line:
        """A scorer's row of the report."""
        return next(line for line in self.report.lines if line.scorer == scorer)


class Done(NamedTuple):
    """What a task has returned, in the place of a future of Prefect's."""

    value: int

    def result(self) -> int:
        return self.value


async def _begin(stage: str, config: RunConfig) -> None:
    """A stage's flow, as a plain function."""
    flows = {"sample": sample.sample, "explain": explain.explain, "score": score.score}
    begun = flows[stage].fn(config)
    if begun is not None:
        await begun


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run over the cached features, all of it but Prefect, whose readers are `READERS`."""
    folder = tmp_path_factory.mktemp("floors")
    ids, strings, places = _firing()
    explained = [
        {"feature": number, "text": f'The word "{word}", mostly after a comma.'}
        for number, word in enumerate(places)
    ]
    (folder / "words.jsonl").write_text("\n".join(map(json.dumps, explained)), encoding="utf-8")
    config = RunConfig.model_validate(_config(folder))
    plan = Plan(config)
    (coder,) = plan.coders
    cached = (plan.tokens, coder.activations, coder.features)
    write(plan.lake, cached, coder.coder.name, ids, strings, list(places.values()), random.Random(1))
    reports: list[Report] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "begin", _begin)
        patch.setattr(run, "publish", reports.append)
        patch.setattr(explain, "explain_bucket", explain_bucket.fn)
        patch.setattr(score, "judge_bucket", judge_bucket.fn)
        patch.setattr(parts, "_submit_to_thread", lambda task, **given: Done(task.fn(**given)))
        patch.setattr(parts, "as_completed", iter)
        patch.setattr(llm_stage, "_open", _open)
        asyncio.run(run.run.fn(config))
    with plan.lake.connect() as connection:
        runs.create_views(plan.lake, connection, config.run)
        numbers = {scorer.name: _numbers(connection, scorer.name) for scorer in config.scorers}
    return Ran(reports[0], numbers)


def _numbers(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, np.ndarray]:
    columns = ", ".join(
        f"{name}{end} as {end.strip('_') or 'score'}" for end in ("", "_floor", "_unexplained", "_q")
    )
    numbers = connection.sql(f"select {columns} from summary order by feature").fetchnumpy()
    return {column: np.asarray(values) for column, values in numbers.items()}


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_reader_of_surface_cues_reaches_the_floors_and_no_more(ran: Ran, scorer: str) -> None:
    """It never reads an explanation: its score is no margin over either floor, and none of a feature is above them."""
    line, numbers = ran.line(f"{scorer}_cue"), ran.numbers[f"{scorer}_cue"]
    assert line.score
    assert line.floor
    assert line.unexplained
    assert line.above
    assert 0.57 < line.score.value < 0.7
    assert min(line.floor.low, line.unexplained.low) > 0.55
    assert _is_nothing(line.above)
    assert _is_nothing(_over(numbers, "unexplained"))
    assert _share(numbers["q"]) <= 0.1


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_reader_that_refuses_other_explanations_gains_nothing_by_it(ran: Ran, scorer: str) -> None:
    """Its scores are above those with another feature's explanation, which are at chance; `unexplained` has the cue."""
    line, numbers = ran.line(f"{scorer}_wary"), ran.numbers[f"{scorer}_wary"]
    assert line.floor
    assert line.unexplained
    assert line.above
    assert line.floor.high < 0.55 < line.unexplained.low
    assert _is_nothing(line.above)
    assert _share(numbers["q"]) <= 0.1
    assert np.mean(numbers["score"] > np.quantile(numbers["floor"], 0.95)) > 0.5


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_reader_that_goes_by_the_explanation_is_above_the_floors(ran: Ran, scorer: str) -> None:
    """For most features, though without an explanation it goes by the same cue."""
    line, numbers = ran.line(f"{scorer}_told"), ran.numbers[f"{scorer}_told"]
    assert line.unexplained
    assert line.unexplained.low > 0.55
    assert line.above
    assert line.above.low > 0.1
    assert _share(numbers["q"]) > 0.5


def test_the_report_prints_what_the_cue_reaches(ran: Ran) -> None:
    """In the row of its scorer, with its interval, and how many scores are above both floors."""
    written = io.StringIO()
    show(ran.report, console(written, width=80))
    text = written.getvalue()
    for scorer in (f"{kind}_{reader}" for kind in SCORERS for reader in READERS):
        line = ran.line(scorer)
        assert line.score
        assert line.floor
        assert line.unexplained
        means = [f"{each.value:.2f}" for each in (line.score, line.floor, line.unexplained)]
        intervals = [ends(each) for each in (line.score, line.floor, line.unexplained)]
        number = f"{FEATURES} +0% +0[.]50"
        assert re.search(
            rf"^ *{scorer} +{number} +{' +'.join(means)} .*\n +{' +'.join(intervals)} ", text, re.MULTILINE
        ), text
        above = round(_share(ran.numbers[scorer]["q"]) * FEATURES)
        assert f"{scorer} {above} of {FEATURES}" in " ".join(text.split())


def _over(numbers: dict[str, np.ndarray], floor: str) -> Estimate:
    return margin(numbers["score"].tolist(), numbers[floor].tolist())


def _is_nothing(estimate: Estimate) -> bool:
    """Whether an interval twice as wide holds 0, and is narrow; one of 95 % misses it in every twentieth case."""
    return abs(estimate.value) < estimate.high - estimate.low < 0.06


def _share(q: np.ndarray) -> float:
    """Of scores that are above the floors at the level that a report counts them at."""
    return float(np.mean(q <= LEVEL))
