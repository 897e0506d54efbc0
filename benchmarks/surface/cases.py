"""What a surface classifier is asked: scorers, with the contexts that they show, and what is at chance."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import TypeAdapter

from benchmarks.surface.classify import Example
from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.llm.request import RequestKey
from tasks.scorers import Scorer

MOST = 0.53
"""Greatest AUROC of what is at chance."""


DEFAULT = {"fuzzing": "other_feature", "intruder": "other_feature"}
"""The kind of contexts that these show best."""


class Case(NamedTuple):
    """A scorer's questions."""

    name: str
    options: Mapping[str, object]
    bound: bool = False
    """Whether it must be at chance: marks that are meant to tell nothing."""

    @property
    def names(self) -> bool:
        """Whether one example of each question is to be named."""
        return self.options["kind"] in ("intruder", "discrimination")

    @property
    def wants(self) -> str:
        """A kind of contexts that is needed."""
        kinds = self.options.get("kinds", [DEFAULT.get(str(self.options["kind"]), "activating")])
        assert isinstance(kinds, list)
        return "activating" if "marks" in self.options else kinds[0]

    @property
    def scorer(self) -> Scorer:
        """Whose questions they are."""
        return TypeAdapter[Scorer](Scorer).validate_python({"reader": "nobody", **self.options})


CASES = (
    Case("fuzzing", {"kind": "fuzzing"}, bound=True),
    Case("fuzzing, `marks: mismarked`", {"kind": "fuzzing", "marks": "mismarked"}),
    Case("fuzzing, `marks: active`", {"kind": "fuzzing", "marks": "active"}),
    Case("fuzzing, `kinds: [random]`", {"kind": "fuzzing", "kinds": ["random"]}),
    Case("fuzzing, `kinds: [silent]`", {"kind": "fuzzing", "kinds": ["silent"]}),
    Case("fuzzing, `marked: paper`", {"kind": "fuzzing", "marked": "paper", "kinds": ["random"]}),
    Case("intruder", {"kind": "intruder"}),
    Case("detection, `kinds: [silent]`", {"kind": "detection", "kinds": ["silent"]}, bound=True),
    Case("detection, `kinds: [random]`", {"kind": "detection", "kinds": ["random"]}),
    Case(
        "detection, `kinds: [other_feature]`", {"kind": "detection", "kinds": ["other_feature"]}, bound=True
    ),
    Case("discrimination", {"kind": "discrimination"}),
    Case("saebench", {"kind": "saebench"}),
)


def examples(scorer: Scorer, features: Sequence[Feature]) -> list[Example]:
    """What a reader of a scorer's questions sees, one example after the other, read back from the rendered text."""
    shown = []
    for feature in features:
        for request in scorer.requests(RequestKey(feature.feature, 0, "none"), "", feature):
            question = render.read_question(request.messages[-1].text)
            assert question is not None
            truths = request.truths
            if request.right is not None:
                truths = [place == request.right for place in range(1, len(question.examples) + 1)]
            shown += [
                Example(feature.feature, request.key, example, truth)
                for example, truth in zip(question.examples, truths, strict=True)
            ]
    return shown
