"""Contexts written by hand, for few-shot turns and tests: `He| un:7|tied| it`, tokens between |, activation after :."""

import re

from tasks.contexts.context import Context

_FIRING = re.compile(r"^(.*):(\d+(?:\.\d+)?)$", re.DOTALL)


def context(written: str, number: int = 0) -> Context:
    """The context that a line describes: activating when any of its tokens fires."""
    strings: list[str] = []
    activations: list[float] = []
    for piece in written.split("|"):
        fired = _FIRING.match(piece)
        strings.append(fired[1] if fired else piece)
        activations.append(float(fired[2]) if fired else 0.0)
    active = any(activations)
    return Context(
        context=number,
        kind="activating" if active else "random",
        decile=0 if active else None,
        strings=tuple(strings),
        activations=tuple(activations),
    )
