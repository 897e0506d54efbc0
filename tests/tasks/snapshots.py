"""Rendered requests as text, compared with the copies that are kept beside the tests."""

import os
from pathlib import Path

from tasks.llm.request import Request


def rendered(request: Request) -> str:
    """All turns of a chat as a reader sees them."""
    return "\n".join(f"--- {message.role}\n{message.text}" for message in request.messages) + "\n"


def kept(path: Path, text: str) -> str:
    """The kept copy; made anew where `UPDATE_SNAPSHOTS` is set."""
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")
