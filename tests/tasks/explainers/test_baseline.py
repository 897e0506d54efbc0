"""The embedded baseline reader, through the same requests and replies as any endpoint."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.render import Named
from tasks.explainers.base import read_explanation
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.reply_text import tagged
from tasks.llm.baseline.describe import Description, description_text, understand
from tasks.llm.baseline.reader import Baseline
from tasks.llm.baseline.words import FORMS
from tasks.llm.request import Message, Outcome, Request, RequestKey
from tasks.scorers import Scorer
from tasks.scorers.choice import Choice
from tasks.scorers.detection import Detection
from tasks.scorers.discrimination import Discrimination
from tasks.scorers.fuzzing import Fuzzing
from tasks.scorers.intruder import Intruder
from tasks.scorers.saebench import SAEBench
from tests.tasks.judging import judge

EXEMPLARS = Exemplars(kind="exemplars", reader="baseline")
PIECE = st.text(min_size=1, max_size=6).filter(lambda text: not any(c.isspace() for c in text))
PIECES = st.lists(st.one_of(PIECE, st.text('";,.-a', min_size=1, max_size=4)), max_size=5).map(tuple)


@given(
    st.builds(
        Description,
        always=PIECES,
        often=PIECES,
        before=PIECES,
        after=PIECES,
        themes=PIECES,
        form=st.sampled_from([None, *FORMS]),
    )
)
def test_a_description_is_understood_as_it_was_meant(description: Description) -> None:
    """Whatever the words are, quotes and full stops among them, and even when there are none."""
    text = description_text(description)
    assert description == understand(text)
    result = tagged(f"EXPLANATION: {text}")
    assert result is not None
    assert text == result.text


def test_somebody_else_s_explanation_is_taken_by_its_words() -> None:
    """Common words and signs say nothing, the others are what to look for."""
    assert Description(always=("word", "lighthouse")) == understand('The word "lighthouse", and the.')


def ask(request: Request) -> Outcome:
    return asyncio.run(Baseline().ask(request))


WORDS = "boat rope salt wind deck crew sail wave sand gull coin lamp".split()


def planted(word: str, seed: int) -> tuple[list[Context], list[Context]]:
    """Contexts of other words, of which the first half has one more that alone fires."""
    draw = random.Random(seed)
    active, silent = [], []
    for number in range(80):
        strings = [f" {draw.choice(WORDS)}" for _ in range(12)]
        activations = [0.0] * 12
        if number < 40:
            place = draw.randrange(12)
            strings[place], activations[place] = f" {word}", draw.randint(4, 10)
        kind, decile = ("activating", number // 4) if number < 40 else ("random", None)
        shown = Context(number, kind, decile, tuple(strings), tuple(activations))
        (active if number < 40 else silent).append(shown)
    return active, silent


def among_neighbours(word: str, seed: int) -> list[Context]:
    """The same, with half of the other contexts in which neighbours fire."""
    active, silent = planted(word, seed)
    near = [replace(item, kind="similar", near=item.context % 5) for item in silent[20:]]
    return [*active, *silent[:20], *near]


OTHERS = [
    Discrimination(kind="discrimination", reader="b"),
    Intruder(kind="intruder", reader="b"),
    SAEBench(kind="saebench", reader="b"),
]


def explained(contexts: list[Context]) -> str | None:
    (request,) = EXEMPLARS.requests(RequestKey(7, 0), Feature(7, 10.0, tuple(contexts)))
    return read_explanation(EXEMPLARS, ask(request)).text


def test_a_planted_word_is_found_and_named() -> None:
    """A feature that fires on one word is explained by that word alone."""
    text = explained(planted("lighthouse", 1)[0])
    assert text is not None
    assert ("lighthouse",) == understand(text).always
    assert () == understand(text).often


@pytest.mark.parametrize("scorer", [Detection, Fuzzing])
def test_a_planted_word_is_judged_as_an_oracle_would(
    tmp_path: Path, scorer: type[Detection | Fuzzing]
) -> None:
    """An explanation from some contexts tells others apart without a mistake; a wrong one doesn't."""
    text = explained(planted("lighthouse", 1)[0])
    assert text is not None
    active, silent = planted("lighthouse", 2)
    item = scorer(kind=scorer.model_fields["name"].default, reader="baseline")
    features = {0: (text, [*active, *silent]), 1: (text.replace("lighthouse", "harbour"), [*active, *silent])}
    _, scores, _ = judge(Lake(tmp_path.as_posix()), features, item, Baseline())
    assert (80, 0, 1.0) == (scores[0]["n"], scores[0]["n_failed"], scores[0]["balanced_accuracy"])
    assert (80, 0) == (scores[1]["n"], scores[1]["n_failed"])
    assert scores[1]["balanced_accuracy"] < 0.7


@pytest.mark.parametrize("scorer", OTHERS, ids=lambda scorer: scorer.kind)
def test_a_planted_word_is_found_by_whoever_names_examples(tmp_path: Path, scorer: Scorer) -> None:
    """Intruders by what the others have in common, all else by the explanation, of which a wrong one is no help."""
    text = explained(planted("lighthouse", 1)[0])
    assert text is not None
    contexts = among_neighbours("lighthouse", 2)
    features = {0: (text, contexts), 1: (text.replace("lighthouse", "harbour"), contexts)}
    _, scores, _ = judge(Lake(tmp_path.as_posix()), features, scorer, Baseline())
    assert [0, 0] == [row["n_failed"] for row in scores]
    assert 1.0 == scores[0]["accuracy"]
    if scorer.needs_explanation:
        assert scores[1]["accuracy" if isinstance(scorer, Choice) else "recall"] < 0.5


@pytest.mark.parametrize(
    ("lines", "intruder"),
    [
        (
            [
                "a <<boat>> sank",
                "the <<boat>> lay",
                "rope and <<sand>>",
                "<<boat>> and wind",
                "no <<boat>> came",
            ],
            "3",
        ),
        (["old <<deck>> x", "old <<sail>> y", "old <<crew>> z", "old <<gull>> w", "new <<wave>> v"], "5"),
        (["a <<b>> sea", "c <<d>> coin", "e <<f>> sea", "g <<h>> sea", "i <<j>> sea"], "2"),
        (["a <<b>>", "c <<d>>", "e <<f>>", "g <<h>>", "i <<j>>"], "1"),
    ],
    ids=["marks", "sides", "text", "nothing"],
)
def test_an_intruder_is_the_one_that_has_least_in_common(lines: list[str], intruder: str) -> None:
    """In its marked words, beside them, or anywhere; the first where nothing tells."""
    outcome = ask(Request("7/0", messages=(Message("user", render.write(lines, None, "intruder")),)))
    assert intruder == (outcome.reply.text if outcome.reply else None)


@pytest.mark.parametrize(
    ("named", "answer"), [(None, "[1, 0, 1]"), ("fitting", "[1, 3]"), ("described", "1"), ("intruder", "2")]
)
def test_it_answers_what_the_last_line_asks_for(named: Named | None, answer: str) -> None:
    """Labels, numbers or a number."""
    text = render.write(["the boat sank", "bread and salt", "a boat"], "Boat.", named)
    outcome = ask(Request("7/0", messages=(Message("user", text),)))
    assert answer == (outcome.reply.text if outcome.reply else None)


@pytest.mark.parametrize(
    "scorer", [Detection(kind="detection", reader="b"), *OTHERS], ids=lambda item: item.kind
)
def test_only_rendered_text_is_seen(scorer: Scorer) -> None:
    """Truths, contexts, keys and what is right change no answer."""
    contexts = tuple(among_neighbours("lighthouse", 2))
    requests = scorer.requests(RequestKey(7, 0, "none"), "Lighthouse.", Feature(7, 10.0, contexts))
    assert requests
    for request in requests:
        blind = replace(request, key="0/x", contexts=(), truths=(), right=None)
        assert ask(request).reply == ask(blind).reply
        assert ask(request).request is request


@pytest.mark.parametrize(
    "request_",
    [Request("7/0", prompt="Once upon a time"), Request("7/0", messages=(Message("user", "Who are you?"),))],
)
def test_what_it_cannot_answer_is_a_failure(request_: Request) -> None:
    """A completion or a free question gets a reason and no reply."""
    outcome = ask(request_)
    assert outcome.reply is None
    assert "only questions about rendered examples" in (outcome.reason or "")
