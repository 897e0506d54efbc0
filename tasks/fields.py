"""Base model and shared types of config keys, and strict checks of values that pydantic would convert silently.

The bounds of the types are in the JSON schema, so that forms show them. Checked are `true`, which pydantic takes for 1,
and infinite numbers.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field


class ConfigModel(BaseModel, frozen=True):
    """Base of all parts of a config: frozen, without unknown keys, and with attribute docstrings as descriptions."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def added_key(default: Any) -> Any:
    """Field of a key that came after lakes had been made: a dump, and so a fingerprint, has it only where it is given.

    "Given" is any value but `default`, which must make the same rows as before there was the key.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


def kinds(union: Any) -> dict[str, type[BaseModel]]:
    """The models of a discriminated union of components by their key `kind`, in the order of the union."""
    members, *_ = get_args(union)
    models = {}
    for member in get_args(members):
        (kind,) = get_args(member.model_fields["kind"].annotation)
        models[kind] = member
    return models


LARGEST_SEED = 2**63 - 1
"""What servers, DuckDB and Parquet take: a signed number of 64 bits."""

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""Seeds random choices."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names become file names and column values."""
LONGEST_NAME = 200
"""Characters, one byte each; a file name may have 255 bytes, and a suffix is added."""

Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
"""What a file is called."""
ComponentName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ._-]*[A-Za-z0-9._-])?$", max_length=LONGEST_NAME)
]
"""What the tables call an explainer or a scorer; it may have spaces inside."""


class Flag(str):
    """A boolean of a config as text, so that it is not taken for a number."""

    __slots__ = ()

    def __repr__(self) -> str:
        """As YAML has it."""
        return str(self)


def flagged(value: object) -> object:
    """A value that may be a boolean beside a text, as it was given."""
    return value == "true" if isinstance(value, Flag) else value


def worded(data: Any) -> Any:
    """The same with booleans as `Flag`, which pydantic converts to booleans and not to numbers."""
    if isinstance(data, bool):
        return Flag("true" if data else "false")
    if isinstance(data, Mapping):
        return {key: worded(value) for key, value in data.items()}
    return [worded(value) for value in data] if isinstance(data, list | tuple) else data


def misread(data: Any, model: Any, path: str = "") -> Iterator[str]:
    """A sentence on each value that pydantic took and that its key does not allow: a boolean for a text, infinity.

    `data` is what a model was made from, `model` what it became, or a part of both.
    """
    if isinstance(data, bool) and model == worded(data):
        yield f"{path} is {str(data).lower()}; text is wanted, in quotes where YAML takes it for something else"
    elif isinstance(model, float) and not isfinite(model):
        yield f"{path} is {model}; a finite number is wanted"
    for key, value, read in _children(data, model):
        yield from misread(value, read, f"{path}.{key}" if path else str(key))


def _children(data: Any, model: Any) -> Iterator[tuple[object, Any, Any]]:
    """Each key or index that both have, with the given value and the validated one."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if isinstance(model, Mapping) and key in model:
                yield key, value, model[key]
            elif isinstance(model, BaseModel) and key in type(model).model_fields:
                yield key, value, getattr(model, key)
    elif isinstance(data, list | tuple) and isinstance(model, list | tuple):
        yield from zip(range(len(data)), data, model, strict=False)
