"""Counts the requests and tokens of a run: explainers and scorers run on a few features, with readers that count."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import NamedTuple

from flows.estimate.controls import Texts, explanation_row, mixed_contexts, shuffled, unexplained
from flows.estimate.features import FeatureSample
from flows.estimate.history import Component, Pace, PastRequests, explainer_parts, find_pace
from flows.estimate.tokenizers import ReaderTokenizer
from flows.optional_readers import Optional
from flows.plan import Checking, CoderSteps, Explaining, Plan, Scoring
from storage import query
from storage.tables import NO_CODER
from tasks.explainers import best_of
from tasks.explainers.base import Explanation
from tasks.explainers.best_of import Replicate
from tasks.explainers.chat import ChatExplainer
from tasks.llm.dispatch import ask_all
from tasks.llm.request import Request, RequestKey
from tasks.llm.token_count import Bill, DryRunReader, PrefixCache, Tokenizer
from tasks.scorers.base import JudgedExplanation, features_alone, match_explanations
from tasks.scorers.mixed import MIN_SOURCES

STAND_IN = (
    "Words and phrases that name a place or a direction in accounts of a journey, often at the end of a sentence, and "
    "the verbs of motion that go with them."
)
"""Stands for an explanation where nothing shows what one looks like: as long as they are on average."""


class Line(NamedTuple):
    """The requests of one component, over all features of a coder."""

    coder: str
    stage: str
    component: str
    reader: str
    bill: Bill
    done: bool
    """Whether the step is complete in the lake."""
    optional: bool
    """Whether the run leaves it out when an optional reader cannot be reached."""
    asker: Component
    each: float
    """Questions about each explanation, or each feature, that is judged; one in parts takes several requests."""
    most: Bill
    """The bill, were all replies whose length is guessed as long as they may be; and the explanations in them."""
    pace: Pace | None = None
    """Averages over past replies to such requests; null without any."""

    @property
    def adaptive(self) -> bool:
        """Whether it may stop before all questions are asked."""
        return getattr(self.asker.asked, "adaptive", None) is not None

    @property
    def at_most(self) -> bool:
        """Whether it is unknown how early it stops."""
        return self.adaptive and self.pace is None

    @property
    def measured(self) -> bool:
        """Whether the lengths of its replies come from the lake."""
        return self.pace is not None and self.pace.completion_tokens is not None

    @property
    def guessed(self) -> bool:
        """Whether it may take more tokens, since the lengths of replies are guessed."""
        return self.most != self.bill


class Explanations(NamedTuple):
    """Explanations that stand in for those to come."""

    texts: Texts
    longest: Texts
    """The same, as long as they may be; equal where the lake has them, or others by the same reader."""


@dataclass(frozen=True)
class RequestCounter:
    """Counts the requests to the readers of a run."""

    plan: Plan
    by: Mapping[str, ReaderTokenizer]
    kept: Sequence[PastRequests]
    optional: Optional

    async def about(self, coder: CoderSteps, sample: FeatureSample) -> list[Line]:
        """The lines of explainers and scorers for one coder's features."""
        lines = []
        for explaining in self.plan.explanations:
            if explaining.coder is coder:
                asked, made = await self._explaining(explaining, sample)
                lines += asked
                for scoring in self.plan.scores:
                    if scoring.explaining is explaining:
                        lines.append(await self._scoring(scoring, sample, made))
        for scoring in self.plan.scores:
            if scoring.coder is coder and scoring.explaining is None:
                lines.append(await self._scoring(scoring, sample, Explanations([], [])))
        return lines

    async def check(self, check: Checking) -> Line:
        """The line of a reader's check."""
        rehearsal = self._rehearsal(check.reader)
        await ask_all(
            rehearsal, [request for component in check.components for request in component.requests]
        )
        bill = sum(rehearsal.bills.values(), Bill())
        described = self.plan.config.readers[check.reader]
        return Line(
            coder=NO_CODER,
            stage="check",
            component="check",
            reader=check.reader,
            bill=bill,
            done=self.plan.lake.complete(check.step),
            optional=described.is_optional,
            asker=Component("check", "check", described),
            each=bill.requests,
            most=bill,
        )

    async def _explaining(
        self, explaining: Explaining, sample: FeatureSample
    ) -> tuple[list[Line], Explanations]:
        """The lines of an explainer, and explanations that stand in for its replies."""
        explainer, name = explaining.explainer, explaining.coder.coder.name
        done = self.plan.lake.complete(explaining.step)
        known = explainer.known(name, sample.explain)
        texts = {feature: [explanation.text] for feature, explanation in known.items() if explanation.text}
        longest = dict(texts)
        lines = []
        if explainer.asking:
            asking = explainer.asking
            unknown = [feature for feature in sample.explain if feature.feature not in known]
            parts = best_of.hold_out_all(asking, unknown)
            drawer = self._rehearsal(asking.reader)
            drawn = [
                _explained(replicate, asking)
                for feature, divided in parts.items()
                for replicate in await best_of.ask_replicates(asking, {feature: divided}, drawer)
            ]
            like = self._seen(next(explainer_parts(explainer)), asking.reader)
            drawn = _worded(drawn, like.texts if like else ())
            guessed = not done and not (like and like.texts)
            long = _as_long(drawn, asking.max_tokens, self.by[asking.reader].tokenizer) if guessed else drawn
            judges = []
            for ones, into in ((drawn, texts), (long, longest)):
                judges.append(self._rehearsal(asking.chooser))
                judged = await best_of.judge_replicates(asking, parts, ones, judges[-1])
                for replicate in best_of.choose_best(asking, ones, judged):
                    if replicate.chosen:
                        into.setdefault(replicate.feature, []).append(replicate.explanation.text or "")
            counters = (asking.reader, drawer, drawer), (asking.chooser, *judges)
            for component, (reader, *both) in zip(explainer_parts(explainer), counters, strict=False):
                if both[0].bills:
                    bill, most = (
                        spread([_of(counter, feature.feature) for feature in sample.explain], sample.features)
                        for counter in both
                    )
                    lines.append(
                        self._line(
                            Line(
                                coder=name,
                                stage="explain",
                                component=component.name,
                                reader=reader,
                                bill=bill,
                                done=done,
                                optional=self.optional.leaves_out(explainer.name),
                                asker=component,
                                each=bill.requests / sample.features if sample.features else 0.0,
                                most=most,
                            )
                        )
                    )
        if done:
            written = _written(self.plan, explaining, sample)
            return lines, Explanations(written, written)
        made = _made(sample, texts)
        return lines, Explanations(made, made if longest == texts else _made(sample, longest))

    async def _scoring(self, scoring: Scoring, sample: FeatureSample, made: Explanations) -> Line:
        """The line of a scorer, for each feature's own explanation and for the controls."""
        scorer, plan = scoring.scorer, self.plan
        name = f"{scoring.explainer}/{scorer.name}"
        bill, each = await self._scored(scoring, sample, made.texts)
        most = bill if made.longest == made.texts else (await self._scored(scoring, sample, made.longest))[0]
        return self._line(
            Line(
                coder=scoring.coder.coder.name,
                stage="score",
                component=name,
                reader=scorer.reader,
                bill=bill,
                done=plan.lake.complete(scoring.judgements),
                optional=self.optional.leaves_out(scoring.explainer, scorer.name),
                asker=Component("score", name, scorer),
                each=each,
                most=most,
            )
        )

    async def _scored(self, scoring: Scoring, sample: FeatureSample, texts: Texts) -> tuple[Bill, float]:
        """The bill for judging some explanations, and the number of questions about each."""
        scorer, reader = scoring.scorer, self._rehearsal(scoring.scorer.reader)
        alone = scoring.explaining is None
        asked: dict[RequestKey, int] = {}
        told: set[str] = set()
        for posed in _each(
            [*features_alone(sample.score), *features_alone(mixed_contexts(sample.score), "mixed")]
            if alone
            else match_explanations(sample.score, [*texts, *shuffled(texts), *unexplained(texts)])
        ):
            sent: list[Request] = []
            for item in posed:
                questions = scorer.requests(item.key, item.text, item.feature)
                asked[item.key] = len(questions)
                parts = [part for question in questions for part in question.parts or (question,)]
                if item.control == "unexplained":
                    # What asks about the text alone is the same for every feature, and sent once.
                    parts = [part for part in parts if part.fingerprint not in told]
                    told |= {part.fingerprint for part in parts}
                sent += parts
            await ask_all(reader, sent)
        kinds = ("none", "mixed" if alone else "shuffled", "unexplained")
        own, floor, without = (
            [_of(reader, feature.feature, kind) for feature in sample.score] for kind in kinds
        )
        controls = self.plan.config.controls
        floors, blinded = (min(n, sample.features) for n in (controls.shuffled, controls.unexplained))
        # Fewer features than a control needs are in none.
        if floors <= (MIN_SOURCES if alone else 1):
            floors = 0
        if blinded <= 1:
            blinded = 0
        # The first control finds in the cache what the features' own questions left there.
        bill = spread(own, sample.features) + _mean(floor).times(floors) + spread(without, blinded)
        return bill, sum(asked.values()) / len(asked) if asked else 0.0

    def _line(self, line: Line) -> Line:
        return as_seen(line, self._seen(line.asker, line.reader))

    def _seen(self, asker: Component, reader: str) -> Pace | None:
        model = self.plan.config.readers[reader].model_name or ""
        return find_pace(self.kept, self.plan.config.run, asker, model)

    def _rehearsal(self, reader: str) -> DryRunReader:
        described = self.plan.config.readers[reader]
        cache = PrefixCache(described.cache_block, scored=not described.remote)
        return DryRunReader(self.by[reader].tokenizer, cache)


def as_seen(line: Line, pace: Pace | None) -> Line:
    """The line with lengths of past replies, and for a scorer that stops early their number of questions."""
    bill, most = line.bill, line.most
    if line.adaptive and pace and line.each:
        share = min(1.0, pace.questions / line.each)
        bill, most = bill.times(share), most.times(share)
    if pace and pace.completion_tokens is not None:
        known = bill.requests * pace.completion_tokens
        bill, most = replace(bill, completion=known, longest=known), replace(most, longest=known)
    return line._replace(bill=bill, most=replace(most, completion=most.longest), pace=pace)


def _explained(drawn: Replicate, asking: ChatExplainer) -> Replicate:
    """A replicate with the explanation of a few-shot answer, another one for the next feature.

    It cannot be read from a reply: one that repeats the prompt's own examples is no explanation.
    """
    texts = asking.examples
    return replace(drawn, explanation=Explanation(texts[drawn.feature % len(texts)], None), chosen=True)


def _worded(drawn: Sequence[Replicate], texts: Sequence[str]) -> list[Replicate]:
    """Replicates with other texts, where there are any."""
    if not texts:
        return list(drawn)
    return [
        replace(
            replicate,
            explanation=replace(replicate.explanation, text=texts[(place + replicate.number) % len(texts)]),
        )
        for place, replicate in enumerate(drawn)
    ]


def _as_long(drawn: Sequence[Replicate], tokens: int, tokenizer: Tokenizer | None) -> list[Replicate]:
    """Replicates whose texts are repeated to about `tokens` tokens."""
    if tokenizer is None:
        return list(drawn)
    long = []
    for replicate in drawn:
        text = replicate.explanation.text or STAND_IN
        words, has = text.split(), max(1, len(tokenizer.encode(text, add_special_tokens=False)))
        again = " ".join(islice(cycle(words), max(len(words), round(len(words) * tokens / has))))
        long.append(replace(replicate, explanation=replace(replicate.explanation, text=again)))
    return long


def _made(sample: FeatureSample, texts: Mapping[int, Sequence[str]]) -> Texts:
    """Explanations of all features, all different: equal ones would share more of the prefix cache than real ones."""
    rows = []
    for feature in sample.score:
        for replicate, text in enumerate(texts.get(feature.feature, [STAND_IN])):
            words = text.split()
            turned = feature.feature % max(len(words), 1)
            other = " ".join(words[turned:] + words[:turned])
            rows.append(explanation_row(feature.feature, replicate, feature.feature, other, "none"))
    return rows


def _written(plan: Plan, explaining: Explaining, sample: FeatureSample) -> Texts:
    """The explanations of the features, from the lake."""
    wanted = {feature.feature for feature in sample.score}
    with plan.lake.connect() as connection:
        parts = plan.lake.parts(explaining.step, "explanations")
        return [
            {**row, "control": "none"}
            for row in query.records(connection, "explained", explanations=parts)
            if row["feature"] in wanted
        ]


def _each(posed: Sequence[JudgedExplanation]) -> list[list[JudgedExplanation]]:
    """Group by feature."""
    by_feature: dict[int, list[JudgedExplanation]] = defaultdict(list)
    for item in posed:
        by_feature[item.feature.feature].append(item)
    return list(by_feature.values())


def _of(reader: DryRunReader, feature: int, control: str = "") -> Bill:
    """The bill of one feature, for one control if one is named."""
    bills = (
        bill
        for key, bill in reader.bills.items()
        if key.feature == feature and (not control or key.control == control)
    )
    return sum(bills, Bill())


def spread(bills: Sequence[Bill], features: int) -> Bill:
    """Extrapolate to `features` features: the first bill once, the mean of the others for the rest."""
    if not bills or not features:
        return Bill()
    return bills[0] + _mean(bills[1:] or bills).times(features - 1)


def _mean(bills: Sequence[Bill]) -> Bill:
    return sum(bills, Bill()).times(1 / len(bills)) if bills else Bill()
