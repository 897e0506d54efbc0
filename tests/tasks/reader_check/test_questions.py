"""Questions of a check: known answers, none of which the prompt gives away, for whatever asks a reader."""

import re
from importlib.resources import files
from itertools import combinations

import pytest
import yaml
from pydantic import TypeAdapter

from flows.cli.prompts import _each_kind, _variants
from tasks.contexts.context import Context
from tasks.explainers import Explainer
from tasks.explainers.chat import ChatExplainer
from tasks.reader_check import questions
from tasks.reader_check.questions import LEAST, Component, components, digest, themes, wrong
from tasks.scorers import Scorer

WORD = re.compile(r"[a-z]+")


def scorer(kind: str, **options: object) -> Scorer:
    return TypeAdapter[Scorer](Scorer).validate_python({"kind": kind, "reader": "reader", **options})


def explainer(kind: str, **options: object) -> Explainer:
    return TypeAdapter[Explainer](Explainer).validate_python({"kind": kind, "reader": "reader", **options})


EVERY = components("reader", _each_kind(Explainer), [*_each_kind(Scorer), *_variants()])


def _text(context: Context) -> str:
    return "".join(context.strings)


def test_every_kind_of_explainer_and_scorer_has_questions() -> None:
    """A new one needs nothing for it; who asks nobody has none."""
    asking = [item.name for item in _each_kind(Explainer) if item.asking]
    assert [*asking, *(item.name for item in [*_each_kind(Scorer), *_variants()])] == [
        item.name for item in EVERY
    ]
    assert all(len(item.requests) >= LEAST for item in EVERY)


@pytest.mark.parametrize("component", EVERY, ids=lambda item: item.name)
def test_answers_differ_from_question_to_question(component: Component) -> None:
    """Who always says the same is found out: both classes are asked about, and more than one example is right."""
    requests = component.requests
    assert len({request.key for request in requests}) == len(requests)
    if component.kind == "choices":
        assert 3 <= len({request.right for request in requests})
    elif component.kind != "explanations":
        truths = [truth for request in requests for truth in request.truths]
        assert 0.2 <= sum(truths) / len(truths) <= 0.6
    if component.kind == "verdicts":
        assert 20 <= sum(len(request.contexts) for request in requests)
        assert any("/wrong" in request.key and not any(request.truths) for request in requests)
        assert 2 <= len({request.truths for request in requests})


def test_a_run_of_five_scorers_asks_some_twenty_questions() -> None:
    """An explainer, detection, fuzzing, intruder and discrimination: cheap beside any run."""
    usual = [scorer(kind) for kind in ("detection", "fuzzing", "intruder", "discrimination")]
    asked = components("reader", [explainer("exemplars")], usual)
    assert 26 == sum(len(item.requests) for item in asked)


def test_a_scorer_is_shown_the_kinds_that_it_takes() -> None:
    """Whatever they are: silent contexts are of the first of them."""
    for kinds in (["cooccurring"], ["silent", "random"], None):
        (item,) = components("reader", [], [scorer("detection", kinds=kinds)])
        assert {True, False} == {truth for request in item.requests for truth in request.truths}


def test_only_who_asks_a_reader_is_in_its_check() -> None:
    """The reader that chooses among replicates is one of them, by detection."""
    best = explainer("exemplars", replicates=2, temperature=0.7, best_of={"reader": "other", "held_out": 4})
    asked = scorer("detection")
    assert ["exemplars", "detection"] == [
        component.name for component in components("reader", [best], [asked])
    ]
    (chooser,) = components("other", [best], [asked])
    assert ("exemplars/best_of", "verdicts") == (chooser.name, chooser.kind)
    assert () == components("nobody", [best], [asked])


def test_the_digest_is_that_of_all_that_is_asked() -> None:
    """The same for the same, another for another option, and for another component."""
    item = components("reader", [], [scorer("detection")])
    assert digest(item) == digest(components("reader", [], [scorer("detection")]))
    others = [
        components("reader", [], subset)
        for subset in (
            [scorer("detection", shown=4)],
            [scorer("detection", name="other")],
            [scorer("detection"), scorer("fuzzing")],
        )
    ]
    assert 4 == len({digest(item), *map(digest, others)})


def _shots() -> list[str]:
    """All texts of all few-shot examples, their tokens joined."""
    result: list[str] = []

    def walk(part: object) -> None:
        if isinstance(part, str):
            result.append(re.sub(r"[*]?\||:\d+(\.\d+)?|\*", "", part).lower())
        elif isinstance(part, dict | list):
            for inner in part.values() if isinstance(part, dict) else part:
                walk(inner)

    for package in ("tasks.explainers", "tasks.scorers"):
        for file in files(package).iterdir():
            if file.name.endswith(".shots.yaml"):
                walk(yaml.safe_load(file.read_text(encoding="utf-8")))
    return result


def test_no_question_is_a_few_shot_example() -> None:
    """Else its answer would be in the prompt."""
    shots = _shots()
    assert 50 < len(shots)
    for theme in themes():
        for text in (theme.explanation, *map(_text, theme.active)):
            assert not any(text.lower() in shot or shot in text.lower() for shot in shots if len(shot) > 12)


def test_no_context_speaks_of_another_feature() -> None:
    """Each is a silent context of all others: no word that names a feature, or fires, is in another's contexts."""
    for item, other in combinations(themes(), 2):
        for theme, contexts in ((item, other.active), (other, item.active)):
            fired = {
                piece.strip().lower()
                for context in theme.active
                for piece, strength in zip(context.strings, context.activations, strict=True)
                if strength
            }
            for context in contexts:
                words = WORD.findall(_text(context).lower())
                assert not fired & set(words)
                assert not [word for word in words if word.startswith(theme.named)]


def test_the_wrong_explanation_fits_nothing() -> None:
    """No context has a word of it."""
    named = set(WORD.findall(wrong().lower())) - {"of", "as", "or"}
    assert {"red", "green"} < named
    for theme in themes():
        for context in theme.active:
            assert not named & set(WORD.findall(_text(context).lower()))


def test_right_explanations_name_their_feature_alone() -> None:
    """By the words that a right explanation is known by."""
    for theme in themes():
        words = WORD.findall(theme.explanation.lower())
        assert [theme] == [item for item in themes() if any(word.startswith(item.named) for word in words)]


def test_explanations_are_asked_for_as_in_a_run() -> None:
    """With the explainer's own prompt, few-shot turns and options."""
    asking = explainer("exemplars", max_tokens=77).asking
    assert isinstance(asking, ChatExplainer)
    (item,) = components("reader", [asking], [])  # type: ignore[list-item]
    assert len(themes()) == len(item.requests)
    assert {77} == {request.max_tokens for request in item.requests}
    assert [questions.theme_of(request) for request in item.requests] == list(range(len(themes())))
