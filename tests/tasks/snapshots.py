"""Rendered requests as text, compared with the copies that are kept beside the tests."""

import os
from pathlib import Path

from tasks.llm.request import Request


def rendered(request: Request) -> str:
    """All that a reader sees: the turns of a chat, a prompt, texts, or each part."""
    seen = [(message.role, message.text) for message in request.messages]
    seen += [("prompt", request.prompt)] if request.prompt is not None else []
    seen += [("text", text) for text in request.texts]
    messages = "".join(f"--- {role}\n{text}\n" for role, text in seen)
    return messages + "".join(rendered(part) for part in request.parts)


def kept(path: Path, text: str) -> str:
    """The kept copy; made anew where `UPDATE_SNAPSHOTS` is set."""
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")
