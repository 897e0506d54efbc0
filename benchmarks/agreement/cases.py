"""What is held against delphi: a scorer of gloss with the options that make it the paper's, and delphi's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import TypeAdapter

from tasks.scorers import Scorer
from tasks.scorers.fuzzing import Fuzzing

SHOWN = 5
"""Examples per question, as in the paper."""
_SCORER: TypeAdapter[Scorer] = TypeAdapter(Scorer)


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    """What figures are called by."""
    label: str
    """What the table calls gloss' side."""
    options: Mapping[str, object]
    """Of gloss' scorer, its kind among them."""
    peer: Mapping[str, object] = field(default_factory=dict)
    """Of delphi's scorer."""
    equal: bool = True
    """Whether both are to give the same verdicts."""

    @cached_property
    def scorer(self) -> Scorer:
        """gloss' scorer, on the paper's non-activating windows."""
        return _SCORER.validate_python({"reader": "deterministic", "shown": SHOWN, **self.options})

    @cached_property
    def paper(self) -> Scorer:
        """The same scorer, with the paper's marks, which are delphi's, where it marks any."""
        return (
            self.scorer.model_copy(update={"marked": "paper"})
            if isinstance(self.scorer, Fuzzing)
            else self.scorer
        )


PAPER = {"kind": "fuzzing", "marked": "paper"}
CASES = (
    Case("detection", "`detection`", {"kind": "detection", "kinds": ["random"]}),
    Case("fuzzing", "`fuzzing`, `marked: paper`", {**PAPER, "kinds": ["random"]}),
    Case(
        "active",
        "`fuzzing`, `marks: active`, `marked: paper`",
        {**PAPER, "marks": "active"},
        {"fuzz_type": "active"},
    ),
    Case("matched", "`fuzzing`", {"kind": "fuzzing", "kinds": ["random"]}, equal=False),
    Case(
        "matched_active",
        "`fuzzing`, `marks: active`",
        {"kind": "fuzzing", "marks": "active"},
        {"fuzz_type": "active"},
        equal=False,
    ),
)
