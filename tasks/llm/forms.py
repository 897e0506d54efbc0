"""Whether a reply has the form that its request asks for: what a server that holds replies to a form makes sure of."""

import json
import re

from tasks.llm.reasoning import answer
from tasks.llm.request import Reply, Request, Unreadable


def obeys(request: Request, reply: Reply) -> bool:
    """Whether a reply, after its thoughts, has the form that its request asks for, as far as it came."""
    if reply.finish_reason == "length":
        return True
    try:
        text = answer(reply, request.key).strip()
    except Unreadable:
        return False
    if request.choices:
        return text in request.choices
    if request.pattern is not None:
        return re.fullmatch(request.pattern, text) is not None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
