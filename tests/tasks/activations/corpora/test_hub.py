"""Datasets of the Hub are named by their commit and streamed; what cannot be is said in a sentence."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from pydantic import ValidationError

from storage.errors import WrongRequest
from tasks.activations.corpora import hub
from tests.tasks.activations.corpora.hub import COMMIT, serving
from tests.tasks.activations.corpora.made import corpus

ROOT = Path(__file__).parents[4]

STREAM = """
import json, sys
from storage.errors import RunFailed, WrongRequest
from tasks.activations.corpus import Corpus
for options in json.load(sys.stdin):
    try:
        corpus = Corpus(tokens=256, **options)
        print(json.dumps({"digest": corpus.digest(), "documents": list(corpus.documents())}))
    except (RunFailed, WrongRequest) as error:
        print(json.dumps({"error": type(error).__name__, "said": str(error)}))
"""
"""Streams corpora in a process of its own, as the Hub's libraries read where it is when they are imported."""


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """No commit is remembered from another test."""
    hub._commit.cache_clear()
    yield
    hub._commit.cache_clear()


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Hub that answers."""
    with serving() as url:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield


def outcomes(folder: Path, *asked: dict) -> list[dict[str, Any]]:
    """What comes of some corpora on a Hub that answers."""
    with serving() as url:
        done = subprocess.run(
            [sys.executable, "-c", STREAM],
            input=json.dumps(asked),
            env={**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "0"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_datasets_are_streamed(tmp_path: Path) -> None:
    """Split after split, whatever their files are; what is not there is refused, with what is."""
    plain, lines, subsets = ({"path": f"hf://owner/{name}"} for name in ("plain", "lines", "subsets"))
    asked = {
        "all": plain,
        "split": {**plain, "path": "hf://datasets/owner/plain", "split": "test"},
        "lines": lines,
        "subset": {**subsets, "subset": "de", "revision": "main"},
        "no split": {**plain, "split": "valid"},
        "no column": {**plain, "column": "body"},
        "no text": {**plain, "column": "n"},
        "no subset": {**subsets, "subset": "fr"},
        "which subset": subsets,
        "script": {"path": "hf://owner/script"},
        "broken": {"path": "hf://owner/broken"},
        "files": {"path": "hf://datasets/owner/plain/data/train-*.parquet"},
    }
    result = dict(zip(asked, outcomes(tmp_path, *asked.values()), strict=True))

    train = [[0, "a"], [2, "b"], *([row, "c"] for row in range(4, 304))]
    assert f"owner/plain@{COMMIT}" == result["all"]["digest"]
    assert [*train, [304, "t"]] == result["all"]["documents"]
    assert [[0, "t"]] == result["split"]["documents"]
    assert [[0, "a"], [1, "b"]] == result["lines"]["documents"]
    assert f"owner/subsets@{COMMIT}/de" == result["subset"]["digest"]
    assert [[0, "eins"]] == result["subset"]["documents"]
    assert train == result["files"]["documents"]
    messages = {
        "no split": "the dataset owner/plain of the Hub has no split valid: it has train, test",
        "no column": "the dataset owner/plain of the Hub has no column body: it has n, text",
        "no text": "column n of the dataset owner/plain of the Hub is int64, not text: name another",
        "no subset": "'fr' not found. Available: ['en', 'de']",
        "which subset": "Please pick one among the available configs: ['en', 'de']",
        "script": "the dataset owner/script of the Hub cannot be opened",
        "broken": "the dataset owner/broken of the Hub broke off after",
    }
    for case, sentence in messages.items():
        assert sentence in result[case].get("said", ""), result[case]
    assert "RunFailed" == result["broken"]["error"]


def test_a_digest_is_the_commit(there: None) -> None:
    """Of the branch or tag that was named; with the subset, where there is one."""
    assert f"owner/plain@{COMMIT}" == corpus("hf://owner/plain").digest()
    assert f"owner/plain@{COMMIT}/en" == corpus("hf://owner/plain", revision="v1", subset="en").digest()


def test_a_commit_needs_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named by its commit is known, whoever answers."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")

    assert f"owner/plain@{'a' * 40}" == corpus("hf://owner/plain", revision="a" * 40).digest()


@pytest.mark.parametrize(
    "options", [{"path": "hf://owner/none"}, {"path": "hf://owner/plain", "revision": "gone"}]
)
def test_an_absent_dataset_is_refused(there: None, options: dict) -> None:
    """In the Hub's words."""
    with pytest.raises(
        WrongRequest, match=r"the Hub does not give the dataset owner/.*: correct corpus\.path"
    ):
        corpus(**options).digest()


def test_a_hub_out_of_reach_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with what can be done without it."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(WrongRequest, match="the Hub cannot be reached for the dataset owner/plain"):
        corpus("hf://owner/plain").digest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "hf://owner"}, "names no dataset: write hf://owner/name"),
        ({"path": "hf://owner/name@v1"}, "with a revision under the key `revision`"),
        ({"path": "hf://owner/name/data/x.parquet"}, "or hf://datasets/owner/name/folder for files"),
        ({"path": "hf://owner/name", "document": "line"}, "document is of text files"),
        ({"path": "corpus.parquet", "revision": "v1"}, "revision is of a dataset of the Hub"),
        ({"path": "owner/name", "subset": "en"}, "subset is of a dataset of the Hub"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict, message: str) -> None:
    """Before anyone is asked."""
    with pytest.raises(ValidationError, match=message):
        corpus(**options)
