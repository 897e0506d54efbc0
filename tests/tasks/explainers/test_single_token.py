"""The explainer that needs nobody for features that fire on one token."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from storage.lake import Lake
from tasks.contexts.context import Described
from tasks.explainers.base import ExplainerInputs
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.logits import Logits
from tasks.explainers.single_token import SingleToken
from tasks.llm.baseline.describe import Description, understand
from tasks.llm.request import RequestKey
from tests.tasks.explainers.every import WHOLE
from tests.tasks.explainers.explaining import Fake, explain

ALONE = SingleToken(kind="single_token")
SINGLE = replace(WHOLE, feature=3, described=Described(single_token=True, top_tokens=(" the", "The")))


@pytest.mark.parametrize(("token", "shown"), [(" the", "the"), ("\n", "⏎"), ("  ", "  "), ('"', '"')])
def test_the_token_is_the_explanation(token: str, shown: str, tmp_path: Path) -> None:
    """Nobody is asked; the baseline judge understands it."""
    feature = replace(SINGLE, described=Described(single_token=True, top_tokens=(token,)))
    (row,), requests = explain(Lake(str(tmp_path)), [feature], ALONE, {})
    assert f'Nearly always on the token "{shown}".' == row["text"]
    assert Description(always=(shown,)) == understand(row["text"])
    assert ("ok", True, "none", "none") == tuple(row[n] for n in ("status", "chosen", "reader", "model"))
    assert (None, None, None) == tuple(row[n] for n in ("prompt_hash", "seed", "prompt_tokens"))
    assert [] == requests


def test_other_features_stay_unexplained(tmp_path: Path) -> None:
    """With the reason, where no other explainer is named."""
    rows, _ = explain(Lake(str(tmp_path)), [WHOLE, SINGLE], ALONE, {})
    assert [(3, "ok"), (7, "failed")] == [(row["feature"], row["status"]) for row in rows]
    assert "it fires on several tokens" in rows[1]["reason"]


def test_other_features_pass_to_another_explainer(tmp_path: Path) -> None:
    """It asks about them only, with its own options, under the name of the first."""
    other = Exemplars(kind="exemplars", reader="r", temperature=0.7, replicates=2)
    explainer = SingleToken(kind="single_token", name="one", otherwise=other)
    reader = Fake(lambda _: "EXPLANATION: Lighthouses.")
    rows, requests = explain(Lake(str(tmp_path)), [WHOLE, SINGLE], explainer, {"r": reader})
    assert [(3, 0, "none"), (7, 0, "r"), (7, 1, "r")] == [
        (row["feature"], row["replicate"], row["reader"]) for row in rows
    ]
    assert {"one"} == {row["explainer"] for row in rows} == {request["component"] for request in requests}
    assert [
        other.replicate(number).requests(RequestKey(7, number), WHOLE)[0] for number in (0, 1)
    ] == reader.asked


def test_what_the_other_explainer_knows_is_known(tmp_path: Path) -> None:
    """Its own reasons for asking nobody hold."""
    explainer = SingleToken(kind="single_token", otherwise=Logits(kind="logits", reader="r"))
    mute = replace(WHOLE, described=Described(single_token=False))
    rows, requests = explain(Lake(str(tmp_path)), [mute, SINGLE], explainer, {"r": Fake(lambda _: "no")})
    assert ["ok", "failed"] == [row["status"] for row in rows]
    assert "no top_logits" in rows[1]["reason"]
    assert [] == requests
    assert "describe.logits" in (
        explainer.unmet_need(ExplainerInputs(("toy",), "./lake", 40, 0, logits=0)) or ""
    )


def test_its_reader_is_named_by_its_place() -> None:
    """In the config the key is below `otherwise`."""
    explainer = SingleToken(kind="single_token", otherwise=Exemplars(kind="exemplars", reader="r"))
    assert {"otherwise.reader": "r"} == explainer.readers
    assert {} == ALONE.readers
    assert ALONE.identity() != explainer.identity()


def test_it_passes_only_to_those_who_ask() -> None:
    """Another one of its kind, or an import, is refused."""
    with pytest.raises(ValidationError, match="single_token"):
        SingleToken.model_validate({"kind": "single_token", "otherwise": {"kind": "single_token"}})
