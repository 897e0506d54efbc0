"""What scoring in rounds saves: recorded judgements of a run are replayed by the rules of `tasks/scorers/ask.py`.

Nobody is asked: the answer to a question is what the run got. The rank correlation is that of the scores which the
rounds end with and the scores of all questions, over features; it says whether the saving changes who comes first.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.report import Bound, Figure
from storage import query, runs
from storage.errors import WrongRequest
from storage.lake import Lake
from tasks.correlations import spearman
from tasks.explainers.best_of import balanced_accuracy
from tasks.llm.request import Request, RequestKey
from tasks.metrics import Estimate
from tasks.scorers.ask import Adaptive, PendingQuestions
from tasks.scorers.base import Judgement

HALF_WIDTHS = (0.2, 0.15, 0.12, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03)
"""Settings that are tried, the thriftiest first."""
WANTED = 0.98
"""Rank correlation with all questions that a setting must reach."""
BOUNDS = {"adaptive_spearman": Bound(at_most=False, value=WANTED)}

Answers = Mapping[str, Sequence[Judgement]]
"""The judgements of one explanation by request."""


class Outcome(NamedTuple):
    """One explanation, asked about in rounds."""

    asked: int
    questions: int
    score: float | None
    final: float | None
    """With all questions."""


@dataclass(frozen=True)
class Replay:
    """All explanations that one scorer judged, asked about in rounds."""

    scorer: str
    half_width: float
    share: float
    """Questions that were asked, of all."""
    agreement: Estimate
    """Rank correlation of the scores with those of all questions."""
    even: Estimate
    """The same when the same share of questions is asked about every explanation alike."""


def recorded(lake: Lake, run: str) -> dict[str, list[Answers]]:
    """The judgements of a run by scorer and explanation: those that hold verdicts on both classes.

    Raises `WrongRequest` when the lake has no such run.
    """
    judgements: dict[str, dict[tuple, dict[str, list[Judgement]]]] = defaultdict(lambda: defaultdict(dict))
    with lake.connect() as connection:
        runs.create_views(lake, connection, run)
        for row in query.records(connection, "recorded"):
            about = tuple(row[name] for name in ("coder", "explainer", "feature", "replicate"))
            answers = judgements[str(row["scorer"])][about].setdefault(str(row["request"]), [])
            answers.append(Judgement(int(str(row["context"])), bool(row["truth"]), _verdict(row["verdict"])))
    return {scorer: list(explanations.values()) for scorer, explanations in judgements.items()}


def _verdict(value: object) -> bool | None:
    return None if value is None else bool(value)


def replay(scorer: str, explanations: Sequence[Answers], adaptive: Adaptive) -> Replay:
    """Ask about every explanation again. Raises `ValueError` when fewer than four have both scores."""
    outcomes = [in_rounds(answers, adaptive) for answers in explanations]
    share = sum(outcome.asked for outcome in outcomes) / sum(outcome.questions for outcome in outcomes)
    even = [some_of(answers, share) for answers in explanations]
    return Replay(scorer, adaptive.half_width, share, _agreement(outcomes), _agreement(even))


def _agreement(outcomes: Sequence[Outcome]) -> Estimate:
    scored = [
        (outcome.score, outcome.final)
        for outcome in outcomes
        if outcome.score is not None and outcome.final is not None
    ]
    return spearman([score for score, _ in scored], [final for _, final in scored])


def some_of(answers: Answers, share: float) -> Outcome:
    """Ask a share of the questions about one explanation, whatever is answered."""
    pending = _pending_questions(answers)
    asked = pending.take(round(share * len(answers)))
    judged = [judgement for question in asked for judgement in answers[question.key]]
    every = [judgement for judged in answers.values() for judgement in judged]
    return Outcome(len(asked), len(answers), balanced_accuracy(judged), balanced_accuracy(every))


def in_rounds(answers: Answers, adaptive: Adaptive) -> Outcome:
    """Ask about one explanation until the setting says that it is enough."""
    pending, asked = _pending_questions(answers), 0
    while True:
        batch = pending.take(adaptive.round)
        asked += len(batch)
        for question in batch:
            pending.judged += answers[question.key]
        if pending.done(adaptive):
            break
    every = [judgement for judged in answers.values() for judgement in judged]
    return Outcome(asked, len(answers), balanced_accuracy(pending.judged), balanced_accuracy(every))


def _pending_questions(answers: Answers) -> PendingQuestions:
    questions = [
        Request(
            key=key,
            prompt="recorded",
            contexts=tuple(judgement.context for judgement in judged),
            truths=tuple(judgement.truth for judgement in judged),
        )
        for key, judged in answers.items()
    ]
    return PendingQuestions(RequestKey.of_explanation(questions[0].key), questions)


def replays(lake: Lake, run: str) -> Iterator[list[Replay]]:
    """Every setting, the thriftiest first, with each scorer's replay. Raises `WrongRequest` without judgements."""
    explanations_by_scorer = recorded(lake, run)
    if not explanations_by_scorer:
        msg = f"run {run} in {lake.uri} holds no verdicts on both classes; give one that detection or fuzzing judged"
        raise WrongRequest(msg)
    for half_width in HALF_WIDTHS:
        adaptive = Adaptive(half_width=half_width)
        yield [
            replay(scorer, explanations, adaptive) for scorer, explanations in explanations_by_scorer.items()
        ]


def figures(lake: Lake, run: str) -> tuple[list[Figure], float]:
    """The figures of the thriftiest setting at which every scorer ranks as with all questions, and its half width.

    Where none does, those of the most careful setting. Values are medians over scorers. `even_spearman` is what asking
    the same share about every explanation alike would give: what the choice of explanations is worth for ranking.
    """
    chosen: list[Replay] = []
    for chosen in replays(lake, run):
        if min(scorer_replay.agreement.value for scorer_replay in chosen) >= WANTED:
            break
    share = Figure.of("adaptive_requests_share", [scorer_replay.share for scorer_replay in chosen])
    agreement = Figure.of("adaptive_spearman", [scorer_replay.agreement.value for scorer_replay in chosen])
    even = Figure.of("even_spearman", [scorer_replay.even.value for scorer_replay in chosen])
    return [share, agreement, even], chosen[0].half_width
