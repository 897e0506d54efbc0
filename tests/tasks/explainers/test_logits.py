"""The explainer that shows what a feature does to the output."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.lake import Lake
from tasks.contexts.context import Described
from tasks.explainers.base import ExplainerInputs
from tasks.explainers.logits import Logits
from tests.tasks.explainers.every import WHOLE
from tests.tasks.explainers.explaining import Fake, explain

LOGITS = Logits(kind="logits", reader="r", tokens=2)


def test_tokens_follow_the_contexts() -> None:
    """As many as are wanted, the most affected first, line breaks as everywhere."""
    assert WHOLE.described is not None
    turned = replace(WHOLE.described, top_logits=("\n", " keeper", " tower"))
    lines = LOGITS.question(replace(WHOLE, described=turned)).split("\n")
    assert ['Made likelier: "⏎", " keeper"', 'Made less likely: "ization", " ""'] == lines[-2:]


@pytest.mark.parametrize("raised", [None, ()])
def test_features_without_tokens_are_not_asked_about(raised: tuple | None, tmp_path: Path) -> None:
    """Those whose decoder row says nothing of the output fail with the reason, the others are asked about."""
    mute = replace(WHOLE, feature=3, described=Described(top_logits=raised, bottom_logits=raised))
    reader = Fake(lambda _: "EXPLANATION: Lighthouses.")
    rows, requests = explain(Lake(str(tmp_path)), [mute, WHOLE], LOGITS, {"r": reader})
    assert [(3, "failed", "none"), (7, "ok", "r")] == [
        (row["feature"], row["status"], row["reader"]) for row in rows
    ]
    assert "the table features has no top_logits of it" in rows[0]["reason"]
    assert ["7/0"] == [request["request"] for request in requests]


def test_a_table_without_tokens_is_refused() -> None:
    """Where the config leaves them out, nothing could be shown of any feature."""
    assert "describe.logits is 0" in (
        LOGITS.unmet_need(ExplainerInputs(("toy",), "./lake", 40, 0, logits=0)) or ""
    )
    assert LOGITS.unmet_need(ExplainerInputs(("toy",), "./lake", 40, 0, logits=1)) is None
