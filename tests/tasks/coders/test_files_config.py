"""A checkpoint's JSON is read alike whoever wrote it, and refused in a sentence where it is none."""

from pathlib import Path

import pytest

from storage.errors import WrongRequest
from tasks.coders import circuit_tracer, files


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    """Editors on Windows begin a file with a mark; JSON and YAML are the same with it and without."""
    (tmp_path / "cfg.json").write_bytes(b'\xef\xbb\xbf{"k": 3}')
    hooks = "model_kind: transcoder_set\nfeature_input_hook: a\nfeature_output_hook: b\n"
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbf" + hooks.encode())

    assert {"k": 3} == files.read_json_object(tmp_path / "cfg.json", "cfg.json")
    assert "a" == circuit_tracer.read_folder_configs(str(tmp_path), None).hooks.feature_input_hook


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "is not JSON .*nested too deeply|is not JSON .*recursion"),
        (b"\xff\xfe{\x00}\x00", "is not JSON"),
        (b"[]", "holds no JSON object"),
        (b"", "is not JSON"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Cut short, nested beyond reason, in another encoding, a list, nothing: each is one sentence."""
    (tmp_path / "cfg.json").write_bytes(content)
    with pytest.raises(
        WrongRequest, match=f"^here/cfg.json (?:{message})[^\n]*: fetch the checkpoint again$"
    ):
        files.read_json_object(tmp_path / "cfg.json", "here/cfg.json")


def test_yaml_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    """So is a config.yaml of circuit-tracer."""
    (tmp_path / "config.yaml").write_text("[" * 3000 + "]" * 3000)
    with pytest.raises(WrongRequest, match="is not YAML"):
        circuit_tracer.read_folder_configs(str(tmp_path), None)
