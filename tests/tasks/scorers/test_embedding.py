"""Embedding and example embedding: what they ask, and what they take from the answers."""

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.contexts import render
from tasks.contexts.context import context
from tasks.llm.request import Outcome, Reply, Request, RequestKey, Unreadable
from tasks.scorers.base import read_judgements
from tasks.scorers.embedding import Embedding
from tasks.scorers.example_embedding import ExampleEmbedding
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import HARBOUR, LIGHTHOUSE

EMBEDDING = Embedding(kind="embedding", reader="r")
EXAMPLES = ExampleEmbedding(kind="example_embedding", reader="r")
MARKED = EXAMPLES.model_copy(update={"marked": True})
SNAPSHOTS = Path(__file__).parent / "snapshots"


def asked() -> Request:
    (request,) = EMBEDDING.requests(RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE)
    return request


def examples(scorer: ExampleEmbedding = EXAMPLES) -> Request:
    (request,) = scorer.requests(RequestKey(7, 0, "none"), "", HARBOUR)
    return request


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("embedding", asked()),
        ("example_embedding", examples()),
        ("example_embedding_marked", examples(MARKED)),
    ],
)
def test_the_texts_are_the_ones_that_were_reviewed(name: str, request_: Request) -> None:
    """A change shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    text = rendered(request_) + f"--- truths\n{list(request_.truths)}\n"
    assert kept(SNAPSHOTS / f"{name}.txt", text) == text


def test_contexts_are_the_same_texts_for_all_explanations() -> None:
    """They need not be embedded twice."""
    (other,) = EMBEDDING.requests(RequestKey(7, 0, "shuffled"), "Boats.", LIGHTHOUSE)
    assert asked().parts[1].digest == other.parts[1].digest
    assert asked().parts[0].digest != other.parts[0].digest
    assert tuple("".join(context.strings) for context in LIGHTHOUSE.contexts) == other.parts[1].texts


def test_the_value_is_the_cosine_whatever_the_lengths() -> None:
    """From -1 to 1; one per context, in their order."""
    vectors = ((3.0, 0.0), (0.0, 2.0), (-7.0, 0.0), (1.0, 1.0), (2.0, 0.0), (5.0, -5.0))
    reply = Reply("", parts=(Reply("", vectors=((0.5, 0.0),)), Reply("", vectors=vectors)))
    rows = EMBEDDING.read(asked(), reply)
    root = math.sqrt(0.5)
    assert [1.0, 0.0, -1.0, root, 1.0, root] == pytest.approx([row.value for row in rows])
    assert [(context.context, context.activating) for context in LIGHTHOUSE.contexts] == [
        (row.context, row.truth) for row in rows
    ]


@pytest.mark.parametrize(
    ("query", "documents", "reason"),
    [
        (((1.0, 0.0),), ((1.0, 0.0),) * 5, "5 vectors for 6 texts"),
        ((), ((1.0, 0.0),) * 6, "0 vectors for 1 texts"),
        (((1.0, 0.0),), (*((1.0, 0.0),) * 5, (1.0,)), "of unequal lengths"),
        (((1.0, 0.0),), (*((1.0, 0.0),) * 5, (0.0, 0.0)), "a vector without a direction"),
        (((math.nan, 0.0),), ((1.0, 0.0),) * 6, "a vector without a direction"),
    ],
)
def test_vectors_without_an_angle_give_no_value(
    query: tuple[tuple[float, ...], ...], documents: tuple[tuple[float, ...], ...], reason: str
) -> None:
    """All contexts of the question fail, with the reason."""
    request, reply = asked(), Reply("", parts=(Reply("", vectors=query), Reply("", vectors=documents)))
    with pytest.raises(Unreadable, match=reason):
        EMBEDDING.read(request, reply)
    rows = read_judgements(EMBEDDING, Outcome(request, reply, None, "here", "m", 2, 0.0))
    assert [None] * 6 == [row.value for row in rows]
    assert all(reason in (row.reason or "") for row in rows)


def test_examples_are_half_of_each_decile_and_are_not_judged() -> None:
    """The other half and all silent contexts are judged, each once."""
    feature = replace(
        HARBOUR,
        contexts=(
            *(replace(context("a:1", number), decile=number // 4) for number in range(40)),
            *(context("b", number) for number in range(40, 60)),
        ),
    )
    (request,) = EXAMPLES.requests(RequestKey(7), "", feature)
    assert 20 == len(request.texts) - len(request.contexts)
    active = [number for number, truth in zip(request.contexts, request.truths, strict=True) if truth]
    assert dict.fromkeys(range(10), 2) == Counter(number // 4 for number in active)
    assert list(range(40, 60)) == [number for number in request.contexts if number not in active]


def test_the_value_is_the_mean_cosine_to_the_examples() -> None:
    """Whatever their lengths are."""
    feature = replace(HARBOUR, contexts=HARBOUR.contexts[:4] + HARBOUR.contexts[10:12])
    (request,) = EXAMPLES.requests(RequestKey(7), "", feature)
    assert (6, 4) == (len(request.texts), len(request.contexts))
    vectors = ((1.0, 0.0), (0.0, 9.0), (5.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (2.0, 2.0))
    rows = EXAMPLES.read(request, Reply("", vectors=vectors))
    assert [0.5, 0.5, -0.5, math.sqrt(0.5)] == pytest.approx([row.value for row in rows])
    with pytest.raises(Unreadable, match="5 vectors for 6 texts"):
        EXAMPLES.read(request, Reply("", vectors=vectors[:5]))


def test_marks_tell_nothing_of_whether_the_feature_fires() -> None:
    """Silent contexts are marked where some activating one is; without the option none is marked."""
    written = ["a| b:5| c| d:4", "e:3| f| g| h", "i| j| k:9| l:8", "m| n| o| p", "q| r| s| t"]
    feature = replace(LIGHTHOUSE, contexts=tuple(context(text, n) for n, text in enumerate(written)))
    (marked,) = MARKED.requests(RequestKey(7), "", feature)
    (plain,) = EXAMPLES.requests(RequestKey(7), "", feature)
    shapes = [re.sub("[a-z]", "x", text) for text in marked.texts]
    assert {"x<< x>> x<< x>>", "<<x>> x x x", "x x<< x x>>"} == set(shapes[:3]) >= set(shapes[3:])
    assert [text.replace(render.OPEN, "").replace(render.CLOSE, "") for text in marked.texts] == list(
        plain.texts
    )


@pytest.mark.parametrize("contexts", [(), LIGHTHOUSE.contexts[:1], LIGHTHOUSE.contexts[3:]])
def test_nothing_is_asked_without_two_activating_contexts(contexts: tuple) -> None:
    """One to be the example, and one to be judged by it."""
    assert [] == EXAMPLES.requests(RequestKey(7), "", replace(LIGHTHOUSE, contexts=contexts))


def test_the_bound_counts_what_is_judged() -> None:
    """The examples stay all there are, unless they are bounded themselves."""
    few = EXAMPLES.model_copy(update={"contexts": 6})
    (request,) = few.requests(RequestKey(7), "", HARBOUR)
    everything = examples()
    assert 6 == len(request.contexts)
    assert len(request.texts) - 6 == len(everything.texts) - len(everything.contexts)
    fewer = EXAMPLES.model_copy(update={"examples": 2})
    (request,) = fewer.requests(RequestKey(7), "", HARBOUR)
    assert everything.contexts == request.contexts
    assert 2 == len(request.texts) - len(request.contexts)
    assert set(request.texts[:2]) < set(everything.texts)
    assert not ExampleEmbedding.needs_explanation
    assert Embedding.needs_explanation
