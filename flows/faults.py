"""What is wrong with a config, in one sentence: the dotted path, what was given, what is allowed."""

import difflib
import re
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.fields import Flag

WANTED = {
    **dict.fromkeys(("list_type", "tuple_type"), "a list is wanted"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping of keys is wanted"),
    "string_type": "text is wanted, in quotes where YAML takes it for something else",
}
"""What pydantic says in Python's words."""


def fault(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a config, and how many more there are."""
    # A misspelt key is told before the key that it was meant to be is missed.
    every = error.errors(include_url=False)
    # What a wrong item makes wrong of its list is no fault of its own.
    every = [f for f in every if not any(f["loc"] == g["loc"][: len(f["loc"])] != g["loc"] for g in every)]
    faults = sorted(every, key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    path, schema = _walk(first["loc"], model.model_json_schema())
    more = len(faults) - 1
    others = f" (and {more} more {'fault' if more == 1 else 'faults'})" if more else ""
    return f"{path or 'config'} {_sentence(first, schema)}{others}"


def _walk(loc: tuple[int | str, ...], root: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The dotted path as a user writes it, without union tags, and the schema of what holds the faulty key."""
    here, holder, path = root, root, []
    for part in loc:
        here = _resolved(here, root)
        tags = here.get("discriminator", {}).get("mapping", {})
        if part in tags:
            here = {"$ref": tags[part]}
            continue
        holder = here
        path.append(str(part))
        here = _child(here, part)
    return ".".join(path), _resolved(holder, root)


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def _child(schema: dict[str, Any], part: int | str) -> dict[str, Any]:
    if isinstance(part, int):
        return schema.get("items", {})
    found = schema.get("properties", {}).get(part)
    if found is not None:
        return found
    # A mapping whose keys must match a pattern has its values' schema under that pattern.
    more = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties", {}))
    return more if isinstance(more, dict) else {}


def _sentence(fault: Any, holder: dict[str, Any]) -> str:
    given = repr(fault["input"])
    given = given if len(given) <= 80 else f"{given[:77]}..."  # a line's worth
    key = str(fault["loc"][-1]) if fault["loc"] else ""
    allowed = sorted(holder.get("properties", {}))
    match fault["type"]:
        case "missing":
            about = holder.get("properties", {}).get(key, {}).get("description", "")
            return f"is missing; it must be given{f' ({about.splitlines()[0]})' if about else ''}"
        case "extra_forbidden":
            near = difflib.get_close_matches(key, allowed, n=1)
            meant = f"; did you mean {near[0]}" if near else ""
            return f"is not a key (given {given}); allowed are {', '.join(allowed)}{meant}"
        case "value_error":
            return f"is wrong: {fault['ctx']['error']}"
        case "union_tag_invalid":
            about = fault["ctx"]
            return (
                f"has {_bare(about['discriminator'])} {about['tag']!r}; allowed are {about['expected_tags']}"
            )
        case "union_tag_not_found":
            return f"lacks the key {_bare(fault['ctx']['discriminator'])} (given {given})"
        case _:
            return f"is {given}{_wanted(fault)}"


def _wanted(fault: Any) -> str:
    kind, about = fault["type"], fault.get("ctx", {})
    if kind in {"int_parsing", "float_parsing"} and isinstance(fault["input"], Flag):
        return "; a number is wanted"
    if kind == "int_parsing" and (written := _written(fault["input"])):
        return f", which YAML takes for text; write {written}"
    if kind == "too_short":
        return f"; give at least {_counted(about['min_length'])}"
    return f"; {WANTED.get(kind) or fault['msg'][0].lower() + fault['msg'][1:]}"


def _counted(count: int) -> str:
    return "one" if count == 1 else str(count)


def _written(text: object) -> str | None:
    """A whole number that is given as `1e6`, as it has to be written; null for any other text."""
    if not isinstance(text, str) or not re.fullmatch(r"[+-]?\d+(\.\d*)?[eE]\+?\d{1,2}", text):
        return None
    number = Decimal(text)
    if number != number.to_integral_value():
        return None
    plain = int(number)
    return f"{plain:_} or {plain}" if abs(plain) >= 1000 else str(plain)


def _bare(name: str) -> str:
    # pydantic names a discriminator with its quotes.
    return name.strip("'")
