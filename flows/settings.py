"""`--set a.b=c`: one key of a config changed for one command."""

from typing import Any

import yaml

from flows import yaml_file
from storage.errors import WrongRequest

LINE = 80
"""Characters of a setting that a refusal repeats."""


def apply(data: dict, setting: str) -> None:
    """Apply one `a.b=c`; the value is read as YAML, list items are named by their index.

    Raises `WrongRequest` where it has another form, or the config has no such place.
    """
    dotted, equals, value = setting.partition("=")
    if not equals or not dotted:
        msg = f"--set {_shortened(setting)} must have the form a.b=value"
        raise WrongRequest(msg)
    *parents, last = dotted.split(".")
    here: Any = data
    for depth, key in enumerate(parents):
        here = _step(here, key, ".".join(parents[: depth + 1]), dotted)
    if isinstance(here, list):
        here[_index(here, last, dotted)] = _value(setting, value)
    elif isinstance(here, dict):
        here[last] = _value(setting, value)
    else:
        msg = f"--set {dotted}: {'.'.join(parents)} is {here!r}, which has no keys"
        raise WrongRequest(msg)


def _value(setting: str, value: str) -> Any:
    try:
        return yaml_file.parse(value)
    except yaml.YAMLError as error:
        said = getattr(error, "problem", None) or str(error)
        msg = f"--set {_shortened(setting)} cannot be read as YAML ({said}); quote it as YAML wants it"
        raise WrongRequest(msg) from None


def _shortened(text: str) -> str:
    return text if len(text) <= LINE else f"{text[:LINE]}…"


def _step(here: Any, key: str, path: str, dotted: str) -> Any:
    if isinstance(here, list):
        return here[_index(here, key, dotted)]
    if isinstance(here, dict):
        return here.setdefault(key, {})
    msg = f"--set {dotted}: {path} does not exist, and what is above it has no keys"
    raise WrongRequest(msg)


def _index(here: list, key: str, dotted: str) -> int:
    if key.isdecimal() and len(key) < 10 and int(key) < len(here):
        return int(key)
    there = f"a list of {len(here)}, 0 to {len(here) - 1}" if here else "an empty list"
    msg = (
        f"--set {dotted}: {key!r} is not an index of {there}; --set changes what is there and appends nothing: "
        "write it into the file, or set the whole list"
    )
    raise WrongRequest(msg)
