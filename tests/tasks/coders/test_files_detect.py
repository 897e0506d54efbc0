"""A config is looked at wherever it lies, and a folder without one says nothing."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from storage.errors import WrongRequest
from tasks.coders.files import peek_json


@pytest.mark.parametrize(
    ("text", "content"), [('{"k": 3}', {"k": 3}), ("[]", {}), ("{", {}), ("\xff", {}), (None, {})]
)
def test_a_json_object_or_nothing(tmp_path: Path, text: str | None, content: dict) -> None:
    """An object is what it is; what is missing, cut short or no object is empty."""
    if text is not None:
        (tmp_path / "cfg.json").write_text(text, encoding="latin-1")

    assert content == peek_json(str(tmp_path), "cfg.json", None)


def test_a_file_holds_no_config(tmp_path: Path) -> None:
    """A path that names a file is no folder with a config, whatever the file is called."""
    (tmp_path / "cfg.json").write_text("{}")

    assert {} == peek_json(str(tmp_path / "cfg.json"), "cfg.json", None)


def test_a_hub_out_of_reach_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached repository that lacks a file looks like one that cannot be asked, and may be another format's."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    assert {} == peek_json("owner/name", "cfg.json", None)


def test_other_places_have_to_be_there(tmp_path: Path) -> None:
    """What keeps a folder from being read at all is an error of its own."""
    with pytest.raises(WrongRequest, match="cannot be opened"):
        peek_json("nothing://bucket", "cfg.json", None)
    with pytest.raises(WrongRequest, match="has no revisions"):
        peek_json(str(tmp_path), "cfg.json", "v2")
