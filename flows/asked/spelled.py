"""Values as a terminal shows them: numbers rounded, nothing invisible, long lists cut and their rest counted."""

from functools import singledispatch

from flows.terminal import JOINERS, code


def spelled(value: object, room: int) -> str:
    """A value on one line: lists and structs in about `room` characters, text in full.

    Quotes show where a text has spaces at its ends, as tokens do.
    """
    if isinstance(value, str) and value and value == value.strip():
        return _shown(value)
    return _inside(value, room)


@singledispatch
def _inside(value: object, _room: int) -> str:
    return "null" if value is None else str(value)


@_inside.register(bool)
def _(value: object, _room: int) -> str:
    return str(value).lower()


@_inside.register
def _(value: float, _room: int) -> str:
    return f"{value:.1f}" if 1_000 <= abs(value) < 1e15 else f"{value:.4g}"


@_inside.register
def _(value: str, _room: int) -> str:
    return f'"{_shown(value)}"'


@_inside.register
def _(value: dict, room: int) -> str:
    return "{" + ", ".join(f"{_shown(name)}: {_inside(part, room)}" for name, part in value.items()) + "}"


@_inside.register
def _(value: tuple, room: int) -> str:
    """An entry of a map, or what Arrow makes an interval."""
    return ": ".join(_inside(part, room) for part in value) if len(value) == 2 else str(value)


@_inside.register
def _(value: list, room: int) -> str:
    said: list[str] = []
    left = room
    for item in value:
        text = _inside(item, room)
        left -= len(text) + 2
        if said and left < 0:
            break
        said.append(text)
    more = len(value) - len(said)
    return f"[{', '.join([*said, f'… {more} more'] if more else said)}]"


def _shown(text: str) -> str:
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character.isprintable() or character in JOINERS:
        return character
    return code(character)
