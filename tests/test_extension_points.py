"""One of each extension point, as CONTRIBUTING shows it, is added to a copy of the code and used there.

A fence with a `title` is a new file, or, in `diff`, the lines that are added to one. A test imports what it needs of
gloss in its body: modules at the top of this file are those of the code as it is.
"""

import asyncio
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import TypeAdapter

from tasks.llm.base import Reader
from tests.docs.pages import PAGES, ROOT

CODE = ("flows", "storage", "tasks")
COPIED = re.compile(rf"({'|'.join(CODE)}|tests\.(tasks|storage))(\.|$)")
"""Modules that are imported anew from the copy; the tests' own so that they use it."""


class Addition(NamedTuple):
    """What a fence of CONTRIBUTING adds."""

    language: str
    path: str
    body: str


def additions() -> list[Addition]:
    """All of them, in their order."""
    page = PAGES["CONTRIBUTING"].read_text(encoding="utf-8")
    fences = re.findall(r'^```(\w+) title="([^"]+)"\n(.*?)^```', page, re.MULTILINE | re.DOTALL)
    return [Addition(*fence) for fence in fences]


def patched(text: str, diff: str) -> str:
    """A text with the lines of a diff: hunks are parted by `...`, and what a hunk keeps or removes occurs once."""
    for hunk in re.split(r"^\.\.\.\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert 1 == text.count(before), f"CONTRIBUTING shows lines that are not there once:\n{before}"
        text = text.replace(before, after)
    return text


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the code with all additions, from which gloss is imported while the tests of this file run."""
    tree = tmp_path_factory.mktemp("extended")
    for package in CODE:
        shutil.copytree(ROOT / package, tree / package)
    for language, path, body in additions():
        file = tree / path
        if language == "diff":
            file.write_text(patched(file.read_text(encoding="utf-8"), body), encoding="utf-8")
        else:
            assert not file.exists()
            file.write_text(body, encoding="utf-8")
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if COPIED.match(name)}
    sys.path.insert(0, tree.as_posix())
    invalidate_caches()
    try:
        yield tree
    finally:
        sys.path.remove(tree.as_posix())
        for name in [name for name in sys.modules if COPIED.match(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def test_gloss_is_that_of_the_copy(extended: Path) -> None:
    """Otherwise nothing here would be tried."""
    assert Path(str(import_module("tasks.scorers").__file__)).is_relative_to(extended)


@dataclass
class Rater(Reader):
    """A reader that rates each text by whether it has a word."""

    word: str
    asked: list[Any] = field(default_factory=list)

    async def ask(self, request: Any) -> Any:
        self.asked.append(request)
        question = import_module("tasks.llm.request")
        rating = 8 if self.word in request.messages[-1].text.rpartition("Example 1: ")[2] else 1
        return question.Outcome(request, question.Reply(f"Rating: {rating}"), None, "here", "m", 1, 0.0)


def test_a_rating_by_chat_is_a_score(extended: Path, tmp_path: Path) -> None:
    """A scorer that gives a number per context: its score is how often an activating context is above a silent one."""
    assert extended.is_dir()
    options = {"kind": "rating", "reader": "r"}
    scorer = TypeAdapter(import_module("tasks.scorers").Scorer).validate_python(options)
    harbour = import_module("tests.tasks.toys").HARBOUR
    lake = import_module("storage.lake").Lake((tmp_path / "lake").as_posix())
    reader = Rater("light")
    judge = import_module("tests.tasks.judging").judge
    features = {7: ("Lighthouses.", harbour.contexts)}
    judgements, scores, _ = judge(lake, features, scorer, reader)
    rated = {request.contexts[0]: "light" in request.messages[-1].text for request in reader.asked}
    values = {row["context"]: row["value"] for row in judgements}
    assert values == {context: 8.0 if has else 1.0 for context, has in rated.items()}
    active, silent = (
        [values[context.context] for context in harbour.contexts if context.activating is truth]
        for truth in (True, False)
    )
    above = sum((item > other) + (item == other) / 2 for item in active for other in silent)
    (score,) = scores
    assert 0.5 < score["score"] < 1
    assert ("auroc", pytest.approx(above / len(active) / len(silent))) == (score["measure"], score["score"])


def test_a_rating_by_chat_is_told_as_its_form_says(extended: Path) -> None:
    """Replies are held to one digit, and one that says another number or none is no judgement."""
    assert extended.is_dir()
    llm, toys = import_module("tasks.llm.request"), import_module("tests.tasks.toys")
    scorer = import_module("tasks.scorers.rating").Rating(kind="rating", reader="r")
    requests = scorer.requests(llm.RequestKey(7, 0, "none"), "Lighthouses.", toys.HARBOUR)
    assert len(toys.HARBOUR.contexts) == len(requests)
    assert {tuple("0123456789")} == {request.choices for request in requests}
    assert 7.0 == scorer.read(requests[0], llm.Reply("7"))[0].value
    for text in ("12", "very well", "7 or 8"):
        with pytest.raises(llm.Unreadable):
            scorer.read(requests[0], llm.Reply(text))


def test_numbers_know_no_adaptive_asking(extended: Path) -> None:
    """It counts right verdicts, of which a scorer of numbers has none."""
    assert extended.is_dir()
    adapter = TypeAdapter(import_module("tasks.scorers").Scorer)
    with pytest.raises(ValueError, match="rating gives numbers; leave adaptive out"):
        adapter.validate_python({"kind": "rating", "reader": "r", "adaptive": {}})


def test_a_rating_is_checked_as_numbers_are(extended: Path) -> None:
    """`gloss check` needs nothing from a new scorer: it asks its requests, and ranks what comes back."""
    assert extended.is_dir()
    questions, llm = import_module("tasks.reader_check.questions"), import_module("tasks.llm.request")
    scorer = import_module("tasks.scorers.rating").Rating(kind="rating", reader="r")
    (component,) = questions.components("r", [], [scorer])
    outcomes = [
        llm.Outcome(request, llm.Reply("9" if request.truths[0] else "2"), None, "here", "m", 1, 0.0)
        for request in component.requests
    ]
    result = import_module("tasks.reader_check.results").check_result(component, outcomes)
    assert ("values", "AUROC", 1.0) == (component.kind, result.measure, result.right.value)


def test_an_explainer_asks_and_is_read(extended: Path) -> None:
    """With its own prompt before the few-shot turns of another one, about the contexts that it chose."""
    assert extended.is_dir()
    llm, toys = import_module("tasks.llm.request"), import_module("tests.tasks.toys")
    options = {"kind": "strongest", "reader": "r", "most": 2}
    explainer = TypeAdapter(import_module("tasks.explainers").Explainer).validate_python(options)
    (request,) = explainer.requests(llm.RequestKey(7), toys.LIGHTHOUSE)
    assert request.messages[0].text.startswith("You say what a feature")
    assert len(request.messages) > 2
    assert (0, 2) == request.contexts
    assert "A keeper." == explainer.read(request, llm.Reply("EXPLANATION: A keeper."))


def test_an_explainer_is_one_of_those_that_others_pass_features_to(extended: Path) -> None:
    """Single-token's other explainer is any that asks by chat."""
    assert extended.is_dir()
    options = {"kind": "single_token", "otherwise": {"kind": "strongest", "reader": "r"}}
    explainer = TypeAdapter(import_module("tasks.explainers").Explainer).validate_python(options)
    assert import_module("tasks.explainers.strongest").Strongest is type(explainer.otherwise)
    assert {"otherwise.reader": "r"} == explainer.readers


def test_a_run_has_what_was_added(extended: Path) -> None:
    """Its config takes an explainer and a scorer by their kinds, and tries each out on its reader."""
    assert extended.is_dir()
    config = import_module("flows.config").RunConfig.model_validate(
        {
            "run": "extended",
            "subject": {"model": "no/such"},
            "corpus": {"path": "no/such.txt", "tokens": 1_000_000},
            "coders": [{"name": "c", "site": "layers.0", "source": {"kind": "neurons"}}],
            "readers": {"r": {"kind": "baseline"}},
            "explainers": [{"kind": "strongest", "reader": "r"}],
            "scorers": [{"kind": "rating", "reader": "r"}],
            "features": {"choose": "all"},
            "lake": "lake",
        }
    )
    asked = import_module("flows.sample_requests").sample_requests(config.explainers, config.scorers)
    assert ["explainers.0.reader", "scorers.0.reader"] == [path for path, *_ in asked]


def test_a_kind_of_negatives_is_drawn(extended: Path, tmp_path: Path) -> None:
    """Silent windows of its own, as many as it is asked for, beside those of another kind; a config takes it."""
    assert extended.is_dir()
    drawing = import_module("tests.tasks.drawing")
    negatives = import_module("tasks.sampling.negatives")
    kind = TypeAdapter(negatives.Negatives)
    kinds = tuple(map(kind.validate_python, [{"kind": "random", "n": 3}, {"kind": "opening", "n": 4}]))
    sampling = import_module("tasks.sampling.config").Sampling(negatives=kinds)
    assert kinds == sampling.negatives
    lake = import_module("storage.lake").Lake((tmp_path / "lake").as_posix())
    cache = drawing.worded(3, 30, [0.5, 0.1])
    cache.write(lake)
    rows = [row for row in drawing.draw(lake, cache, kinds) if row["kind"] == "opening"]
    for feature in range(cache.width):
        sequences = [row["sequence"] for row in rows if row["feature"] == feature]
        silent = [sequence for sequence in range(cache.sequences) if cache.silent(feature, sequence, 0)]
        assert 4 == len(sequences)
        assert set(sequences) <= set(silent)
        assert sequences == sorted(sequences)
    assert {(0, None, None)} == {(row["start"], row["near"], row["distance"]) for row in rows}


def test_a_lake_lies_in_an_added_backend(extended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are written, listed, committed and read by SQL; fsspec's file system in memory stands for the bucket."""
    assert extended.is_dir()

    class Buckets(MemoryFileSystem):
        protocol = ("gs",)
        store: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
        pseudo_dirs: ClassVar[list[str]] = [""]

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.removeprefix("gs://"))

    monkeypatch.setitem(import_module("fsspec.registry")._registry, "gs", Buckets)
    toys, tables = import_module("tests.storage.toys"), import_module("storage.tables")
    lake = import_module("storage.lake").Lake("gs://bucket/lake")
    lake.check_reachable()
    lake.check_writable()
    step = toys.step()
    for part, features in zip(toys.WANTED, ((3, 5), (1,)), strict=True):
        lake.write(tables.ACTIVATIONS, step.part("activations", part), toys.firings(*features))
    lake.commit(step, toys.WANTED)
    assert lake.complete(step)
    parts = lake.parts(step, "activations")
    assert all(part.startswith("gs://bucket/lake/activations/") for part in parts)
    assert [3, 5, 1] == lake.read("activations", parts)["feature"].to_pylist()
    with lake.connect() as connection:
        query = "select sum(feature) from read_parquet($parts)"
        assert (9,) == connection.execute(query, {"parts": parts}).fetchone()


def test_messages_name_an_added_backend(extended: Path) -> None:
    """An unknown scheme lists it, and its own advice ends the sentence about a bucket that cannot be reached."""
    assert extended.is_dir()
    lake, errors = import_module("storage.lake"), import_module("storage.errors")
    with pytest.raises(
        errors.WrongRequest, match=r"give a folder or s3://bucket/prefix or gs://bucket/prefix$"
    ):
        lake.Lake("ftp://bucket/lake")
    with pytest.raises(errors.WrongRequest, match=r"cannot be reached .*GOOGLE_APPLICATION_CREDENTIALS$"):
        lake.Lake("gs://bucket/lake").check_reachable()


def test_a_coder_format_is_detected_and_loaded(extended: Path, tmp_path: Path) -> None:
    """By name or by `auto`; it fires where the weights do, and other tensors are refused."""
    assert extended.is_dir()
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    weights = {"encoder": torch.eye(3), "decoder": torch.eye(3), "bias": torch.tensor([0.0, 0.0, -2.0])}
    save_file(weights, tmp_path / "relu.safetensors")
    adapter = TypeAdapter(import_module("tasks.coders").Source)
    named, auto = (
        adapter.validate_python({"kind": kind, "path": tmp_path.as_posix()})
        for kind in ("plain_relu", "auto")
    )
    assert named == auto.source
    assert named.identity("layers.0") == auto.identity("layers.0")
    coder = auto.load("layers.0", import_module("tasks.coders.base").HookSite("layers.0", 3))
    firings = coder.encode(torch.tensor([[1.0, -1.0, 3.0]]))
    assert {0: 1.0, 2: 1.0} == dict(zip(firings.feature.tolist(), firings.activation.tolist(), strict=True))
    save_file(weights | {"threshold": torch.ones(3)}, tmp_path / "relu.safetensors")
    with pytest.raises(
        import_module("storage.errors").WrongRequest, match="tensor threshold, and plain ReLU"
    ):
        named.load("layers.0", import_module("tasks.coders.base").HookSite("layers.0", 3))


def test_a_corpus_format_is_read(extended: Path, tmp_path: Path) -> None:
    """By its ending, plain, compressed and out of a folder; messages name it among the others."""
    assert extended.is_dir()
    import gzip  # noqa: PLC0415

    corpus = import_module("tasks.activations.corpus").Corpus
    data = b"id\ttext\n1\tA lighthouse.\n2\tA keeper.\n"
    (tmp_path / "a.tsv").write_bytes(data)
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(data))
    texts = ["A lighthouse.", "A keeper."]
    for path, expected in (
        (tmp_path / "a.tsv", texts),
        (tmp_path / "b.tsv.gz", texts),
        (tmp_path, texts * 2),
    ):
        documents = corpus(path=path.as_posix(), tokens=64, sequence=16).documents()
        assert expected == [document.text for document in documents]
    (tmp_path / "c.xyz").write_text("?")
    with pytest.raises(import_module("storage.errors").WrongRequest, match=r"\.tsv, \.tsv\.gz, \.tsv\.zst$"):
        list(corpus(path=(tmp_path / "c.xyz").as_posix(), tokens=64, sequence=16).documents())


def test_an_added_reader_answers_what_a_scorer_asks(extended: Path) -> None:
    """A run's config takes it by its kind, and it is opened and asked as any other."""
    assert extended.is_dir()
    config = TypeAdapter(import_module("tasks.llm.readers").AnyReader).validate_python({"kind": "echo"})
    assert {"kind": "echo"} == config.identity() == config.model_dump()
    question = import_module("tasks.llm.request")
    request = question.Request("0/0/-/q", (question.Message("user", "Is anybody there?"),))

    async def reply() -> str:
        async with config.open() as reader:
            (outcome,) = await import_module("tasks.llm.dispatch").ask_all(reader, [request])
            return outcome.reply.text

    assert "Is anybody there?" == asyncio.run(reply())
