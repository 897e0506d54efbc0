"""A model's folder as a user has it, and a cache of conversions that no other test sees."""

from pathlib import Path

import pytest

from tests.tasks.activations.models import model, words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Llama and its tokenizer, saved in the Hugging Face layout."""
    model("llama").save_pretrained(tmp_path / "subject")
    words().save_pretrained(tmp_path / "subject")
    return tmp_path / "subject"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("GLOSS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"
