"""What readers will be asked: explainers and scorers at work on a few features, with readers that only count."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from flows.estimated.grounds import Grounds
from flows.estimated.seen import Component, Pace, explainer_parts
from flows.estimated.tokenizers import Counted
from flows.plan import CoderSteps, Explaining, Plan, Scoring
from storage import query
from tasks import replicates
from tasks.llm.counting import Bill, PrefixCache
from tasks.llm.gather import ask_all
from tasks.llm.rehearsal import Rehearsal
from tasks.scorers.base import Posed, pose, pose_alone

STAND_IN = (
    "Words and phrases that name a place or a direction in accounts of a journey, often at the end of a sentence, and "
    "the verbs of motion that go with them."
)
"""Stands for an explanation where nothing shows what one looks like: as long as they are on average."""


class Line(NamedTuple):
    """What one component will ask, over all features of a coder."""

    coder: str
    stage: str
    component: str
    reader: str
    bill: Bill
    done: bool
    """Whether the lake has the answers already."""
    asker: Component
    questions: float
    """How many there are; one in parts takes several requests."""
    each: float
    """How many there are about each explanation, or each feature, that is judged."""
    pace: Pace | None = None
    """What replies to such questions were like, as far as the lake says."""

    @property
    def adaptive(self) -> bool:
        """Whether it may stop before all are asked."""
        return getattr(self.asker.asked, "adaptive", None) is not None

    @property
    def at_most(self) -> bool:
        """Whether nobody knows how early it stops."""
        return self.adaptive and self.pace is None

    @property
    def measured(self) -> bool:
        """Whether the lake says how long its replies are."""
        return self.pace is not None and self.pace.completion_tokens is not None


def as_seen(line: Line, pace: Pace | None) -> Line:
    """A line with replies as long as they were, and as many questions as were needed where a scorer stops early."""
    bill, questions = line.bill, line.questions
    if line.adaptive and pace and line.each:
        share = min(1.0, pace.questions / line.each)
        bill, questions = bill.times(share), questions * share
    if pace and pace.completion_tokens is not None:
        bill = replace(bill, completion=questions * pace.completion_tokens)
    return line._replace(bill=bill, questions=questions, pace=pace)


async def questions(plan: Plan, coder: CoderSteps, found: Grounds, by: Mapping[str, Counted]) -> list[Line]:
    """What explainers and scorers will ask about one coder's features."""
    lines = []
    for explaining in plan.explanations:
        if explaining.coder is coder:
            asked, texts = await _explaining(plan, explaining, found, by)
            lines += asked
            for scoring in plan.scores:
                if scoring.explaining is explaining:
                    lines.append(await _scoring(plan, scoring, found, texts, by))
    for scoring in plan.scores:
        if scoring.coder is coder and scoring.explaining is None:
            lines.append(await _scoring(plan, scoring, found, [], by))
    return lines


Texts = list[dict[str, object]]
"""Explanations as `pose` takes them."""


async def _explaining(
    plan: Plan, explaining: Explaining, found: Grounds, by: Mapping[str, Counted]
) -> tuple[list[Line], Texts]:
    """What an explainer will ask, and explanations such as it may get."""
    explainer, name = explaining.explainer, explaining.coder.coder.name
    done = plan.lake.complete(explaining.step)
    known = explainer.known(name, found.explain)
    texts = {feature: [explanation.text] for feature, explanation in known.items() if explanation.text}
    lines = []
    if explainer.asking:
        asking = explainer.asking
        unknown = [feature for feature in found.explain if feature.feature not in known]
        parts = replicates.parted(asking, unknown)
        drawer = _rehearsal(plan, asking.reader, by)
        drawn = [
            one
            for feature, divided in parts.items()
            for one in await replicates.draw(asking, {feature: divided}, drawer)
        ]
        judge = _rehearsal(plan, asking.chooser, by)
        judged = await replicates.judge(asking, parts, drawn, judge)
        for one in replicates.choose(asking, drawn, judged):
            if one.chosen:
                texts.setdefault(one.feature, []).append(one.explanation.text or "")
        counters = (asking.reader, drawer), (asking.chooser, judge)
        for component, (reader, counter) in zip(explainer_parts(explainer), counters, strict=False):
            if counter.bills:
                bills = [_of(counter, feature.feature) for feature in found.explain]
                bill = spread(bills, found.features)
                about = bill.requests / found.features if found.features else 0.0
                lines.append(
                    Line(name, "explain", component.name, reader, bill, done, component, bill.requests, about)
                )
    return lines, _written(plan, explaining, found) if done else _made(found, texts)


def _made(found: Grounds, texts: Mapping[int, Sequence[str]]) -> Texts:
    """Explanations of all features; each another one, since equal ones would share more of the cache than real ones."""
    rows = []
    for feature in found.score:
        for replicate, text in enumerate(texts.get(feature.feature, [STAND_IN])):
            words = text.split()
            turned = feature.feature % max(len(words), 1)
            other = " ".join(words[turned:] + words[:turned])
            rows.append(_text(feature.feature, replicate, feature.feature, other))
    return rows


def _written(plan: Plan, explaining: Explaining, found: Grounds) -> Texts:
    """Their explanations, where the lake has them."""
    wanted = {feature.feature for feature in found.score}
    with plan.lake.connect() as connection:
        parts = plan.lake.parts(explaining.step, "explanations")
        return [
            dict(row)
            for row in query.records(connection, "explained", explanations=parts)
            if row["feature"] in wanted
        ]


def _text(feature: int, replicate: int, of: int, text: str) -> dict[str, object]:
    return {"feature": feature, "replicate": replicate, "explanation_of": of, "text": text}


async def _scoring(
    plan: Plan, scoring: Scoring, found: Grounds, texts: Texts, by: Mapping[str, Counted]
) -> Line:
    """What a scorer will ask, about each feature's own explanation and about those of the shuffled control."""
    scorer, reader = scoring.scorer, _rehearsal(plan, scoring.scorer.reader, by)
    alone = scoring.explaining is None
    asked: dict[str, int] = {}
    for posed in _each(pose_alone(found.score) if alone else pose(found.score, [*texts, *_shuffled(texts)])):
        made = {one.key: scorer.requests(one.key, one.text, one.feature) for one in posed}
        asked |= {key: len(requests) for key, requests in made.items()}
        await ask_all(reader, [request for requests in made.values() for request in requests])
    own, control = (
        [_of(reader, feature.feature, kind) for feature in found.score] for kind in ("none", "shuffled")
    )
    controls = 0 if alone else min(plan.config.controls.shuffled, found.features)
    # The first control finds in the cache what the features' own questions left there.
    bill = spread(own, found.features) + _mean(control).times(controls)
    name = f"{scoring.explainer}/{scorer.name}"
    done = plan.lake.complete(scoring.judgements)
    # As many requests for each question, whichever it is.
    total, sent = sum(asked.values()), sum((one.requests for one in reader.bills.values()), 0.0)
    return Line(
        scoring.coder.coder.name,
        "score",
        name,
        scorer.reader,
        bill,
        done,
        Component("score", name, scorer),
        bill.requests * total / sent if sent else 0.0,
        total / len(asked) if asked else 0.0,
    )


def _shuffled(texts: Texts) -> Texts:
    """Each explanation once more, for the feature before."""
    before = [texts[-1], *texts[:-1]] if len(texts) > 1 else []
    return [
        _text(
            int(str(own["feature"])),
            int(str(own["replicate"])),
            int(str(other["feature"])),
            str(other["text"]),
        )
        for own, other in zip(texts, before, strict=False)
        if own["feature"] != other["feature"]
    ]


def _each(posed: Sequence[Posed]) -> list[list[Posed]]:
    """What is posed, feature by feature."""
    found: dict[int, list[Posed]] = defaultdict(list)
    for one in posed:
        found[one.feature.feature].append(one)
    return list(found.values())


def _rehearsal(plan: Plan, reader: str, by: Mapping[str, Counted]) -> Rehearsal:
    block = getattr(plan.config.readers[reader], "block", None)
    return Rehearsal(by[reader].tokenizer, PrefixCache(block))


def _of(reader: Rehearsal, feature: int, control: str = "") -> Bill:
    """What was asked about one feature, under one control where one is named."""
    about = (key.split("/") for key in reader.bills)
    keys = ["/".join(key) for key in about if key[0] == str(feature) and (not control or key[-1] == control)]
    return sum((reader.bills[key] for key in keys), Bill())


def spread(bills: Sequence[Bill], features: int) -> Bill:
    """What so many features take: the first as much as the first did, all others as much as the others on average."""
    if not bills or not features:
        return Bill()
    return bills[0] + _mean(bills[1:] or bills).times(features - 1)


def _mean(bills: Sequence[Bill]) -> Bill:
    return sum(bills, Bill()).times(1 / len(bills)) if bills else Bill()
