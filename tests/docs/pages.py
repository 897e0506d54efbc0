"""The pages that people read, and their code blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = {file.stem: file for file in sorted((ROOT / "docs").glob("*.md"))}
GENERATED = {"config", "tables"}
"""Pages made of the code, which show no commands."""
PAGES = {
    **{name: file for name, file in DOCS.items() if name not in GENERATED},
    "README": README,
    "CONTRIBUTING": ROOT / "CONTRIBUTING.md",
    "deployments": ROOT / "deployments" / "README.md",
    "vllm": ROOT / "deployments" / "vllm" / "README.md",
}
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """A page's code blocks of a language; `""` for those that name none, which hold commands."""
    return [body for name, body in _FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> list[str]:
    """The lines that call gloss."""
    return [line for body in blocks(page, "") for line in body.splitlines() if line.startswith("gloss ")]
