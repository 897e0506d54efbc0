"""The explainer that shows what a feature is silent on."""

from dataclasses import replace
from pathlib import Path

from storage.lake import Lake
from tasks.contexts.context import context
from tasks.explainers.base import ExplainerInputs
from tasks.explainers.chat import BestOf, activating
from tasks.explainers.contrastive import Contrastive
from tasks.llm.request import RequestKey
from tests.tasks.explainers.every import WHOLE
from tests.tasks.explainers.explaining import Fake, explain

CONTRASTIVE = Contrastive(kind="contrastive", reader="r", counterexamples=3)


def test_counterexamples_are_of_all_kinds() -> None:
    """As many as are wanted, evenly over those there are, unmarked and after the examples."""
    others = [
        replace(context(f"text| {number}", 3 + number), kind=f"kind {number // 3}") for number in range(9)
    ]
    whole = replace(WHOLE, contexts=(*activating(WHOLE), *others))
    (request,) = CONTRASTIVE.requests(RequestKey(7, 0), whole)
    lines = request.messages[-1].text.split("\n")
    assert ["Counterexample 1: text 1", "Counterexample 2: text 4", "Counterexample 3: text 7"] == lines[-3:]
    assert (0, 1, 2, 4, 7, 10) == request.contexts


def test_features_without_counterexamples_are_not_asked_about(tmp_path: Path) -> None:
    """Those for which none were found fail with the reason, the others are asked about."""
    alone = replace(WHOLE, feature=3, contexts=activating(WHOLE))
    reader = Fake(lambda _: "EXPLANATION: Lighthouses.")
    rows, _ = explain(Lake(str(tmp_path)), [alone, WHOLE], CONTRASTIVE, {"r": reader})
    assert [(3, "failed"), (7, "ok")] == [(row["feature"], row["status"]) for row in rows]
    assert "no non-activating contexts were found for it" in rows[0]["reason"]
    assert 1 == len(reader.asked)


def test_a_run_without_contrast_is_refused() -> None:
    """It has to draw non-activating contexts for the explainer; twice as many where some are held out."""
    assert "sample.contrast gives none" in (
        CONTRASTIVE.unmet_need(ExplainerInputs(("toy",), "./lake", 40, contrast=0, logits=10)) or ""
    )
    assert CONTRASTIVE.unmet_need(ExplainerInputs(("toy",), "./lake", 40, contrast=1, logits=10)) is None
    best = CONTRASTIVE.model_copy(update={"best_of": BestOf(held_out=5)})
    assert "best_of needs 10" in (
        best.unmet_need(ExplainerInputs(("toy",), "./lake", 40, contrast=9, logits=10)) or ""
    )
