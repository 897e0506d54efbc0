"""Prompts are the text of their files."""

from pathlib import Path

from tasks.llm import prompt


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    """As editors of Windows put it before a text."""
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfExplain {it}.\r\n")
    assert "Explain {it}." == prompt.read_prompt(
        "tasks.explainers", "exemplars.prompt.txt", str(tmp_path / "p.txt")
    )
