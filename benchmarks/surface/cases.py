"""What a surface classifier is asked: scorers, with the contexts that they show, and what is at chance."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import TypeAdapter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.surface.classify import Example
from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.llm.request import RequestKey
from tasks.scorers import Scorer
from tasks.scorers.base import OTHER_FEATURE
from tasks.scorers.choice import Choice

MOST = 0.53
"""Greatest end of an AUROC's interval, above 0.5 or as far below, of what is at chance."""


ALONE, OVER_ALL, BESIDE = "alone", "alone, over all", "beside"
"""What is said of a case: within features from each example alone, over the examples of all features, and within
features from each beside the others of its question."""


class Case(NamedTuple):
    """A scorer's questions."""

    name: str
    options: Mapping[str, object]
    bound: Literal["alone", "beside"] | None = None
    """What must be at chance: each example seen alone, or beside the others of its question as well."""

    @property
    def names(self) -> bool:
        """Whether one example of each question is to be named, for which a reader compares them in any case."""
        return isinstance(self.scorer, Choice)

    @property
    def held(self) -> str | None:
        """What is said of it that must be at chance.

        An example that is to be named stands among four of one feature, which are alike: the likeliest of five is the
        fifth more often than any other, whatever its cues, so that it is held over all.
        """
        return OVER_ALL if self.bound and self.names else self.bound

    @property
    def wants(self) -> str:
        """A kind of contexts that is needed."""
        if "marks" in self.options:
            return "activating"
        if self.scorer.kinds is not None:
            return self.scorer.kinds[0]
        return OTHER_FEATURE if self.scorer.marks_silent else "activating"

    @property
    def scorer(self) -> Scorer:
        """Whose questions they are."""
        return TypeAdapter[Scorer](Scorer).validate_python({"reader": "nobody", **self.options})


CASES = (
    Case("fuzzing", {"kind": "fuzzing"}, "beside"),
    Case("fuzzing, `marks: mismarked`", {"kind": "fuzzing", "marks": "mismarked"}),
    Case("fuzzing, `marks: active`", {"kind": "fuzzing", "marks": "active"}),
    Case("fuzzing, `kinds: [random]`", {"kind": "fuzzing", "kinds": ["random"]}),
    Case("fuzzing, `kinds: [silent]`", {"kind": "fuzzing", "kinds": ["silent"]}),
    Case("fuzzing, `marked: paper`", {"kind": "fuzzing", "marked": "paper", "kinds": ["random"]}),
    Case("intruder", {"kind": "intruder"}, "alone"),
    Case("detection, `kinds: [silent]`", {"kind": "detection", "kinds": ["silent"]}, "alone"),
    Case("detection, `kinds: [random]`", {"kind": "detection", "kinds": ["random"]}),
    Case("detection, `kinds: [other_feature]`", {"kind": "detection", "kinds": ["other_feature"]}, "beside"),
    Case("discrimination", {"kind": "discrimination"}),
    Case("saebench", {"kind": "saebench"}),
)


def examples(scorer: Scorer, features: Sequence[Feature]) -> list[Example]:
    """What a reader of a scorer's questions sees, one example after the other, read back from the rendered text."""
    shown = []
    group = _groups(features)
    for feature in features:
        sources = {
            _plain(render.text(context.strings)): _source(feature, context) for context in feature.contexts
        }
        for request in scorer.requests(RequestKey(feature.feature, 0, "none"), "", feature):
            question = render.read_question(request.messages[-1].text)
            assert question is not None, request.key
            truths = request.truths
            if request.right is not None:
                truths = [place == request.right for place in range(1, len(question.examples) + 1)]
            shown += [
                Example(
                    feature.feature,
                    request.key,
                    example,
                    truth,
                    sources[_plain(example.text)],
                    group[feature.feature],
                    (*question.examples[:place], *question.examples[place + 1 :]),
                )
                for place, (example, truth) in enumerate(zip(question.examples, truths, strict=True))
            ]
    return shown


def _plain(text: str) -> str:
    """A text by which it is known again: a question shows signs and marks in its own way."""
    return "".join(filter(str.isalnum, text))


def _source(feature: Feature, context: Context) -> int:
    """The feature that is known to fire in a context, or the one that it was drawn for."""
    if context.activating or context.other is None:
        return feature.feature
    return context.other


def _groups(features: Sequence[Feature]) -> dict[int, int]:
    """A number for each feature, the same for those that have windows of one another, or of the same other one.

    Those of neighbours are left out, as a neighbour has neighbours of its own: nearly all features would be one group.
    """
    pairs = [
        (feature.feature, context.other)
        for feature in features
        for context in feature.contexts
        if context.kind == OTHER_FEATURE and context.other is not None
    ]
    every = sorted({feature.feature for feature in features} | {other for _, other in pairs})
    place = {number: index for index, number in enumerate(every)}
    ends = np.array([(place[feature], place[other]) for feature, other in pairs], dtype=np.int64).reshape(
        -1, 2
    )
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(every), len(every)))
    _, group = connected_components(links, directed=False)
    return {feature.feature: int(group[place[feature.feature]]) for feature in features}
