"""Writes docs/config.md from the config's own schema: `python -m flows.config_doc`; `--check` says if it is current."""

import json
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from flows.config import RunConfig

PAGE = Path(__file__).parents[1] / "docs" / "config.md"

HEAD = """# The keys of a run's config

Generated from the code by `make docs`. A key without a default must be given; so must the key that tells the kinds of a
thing apart (`kind`, or `choose` of `features`), whenever that thing is in the config. Paths are relative to where gloss
is called.

`--set a.b=c` does what writing the key into the file would do, and no more. It changes a key that the file has, or adds
one to what the file has (`--set readers.judge.prompt_price=0.6`) or at the top (`--set budget.cost=50`). Items of lists
go by their number, `--set scorers.0.shown=3`, and none can be added to a list: give the list as a whole, as YAML, or
edit the file. Nor does it reach into a default that is a list, or of one kind of several: where the file has no
`runner`, `--set runner.workers=4` is refused, for `runner` lacks its `kind`, and
`--set "runner={kind: threads, workers: 4}"` is taken.
"""


def page() -> str:
    """The page's text."""
    schema = RunConfig.model_json_schema()
    parts = {"RunConfig": schema, **schema["$defs"]}
    told = set(_told_apart(schema))
    return "\n".join([HEAD, *(_section(name, parts[name], told) for name in _reached(schema, parts))])


def _reached(schema: dict[str, Any], parts: dict[str, Any]) -> list[str]:
    """The parts in the order in which the config names them."""
    names, waiting = ["RunConfig"], [schema["properties"]]
    while waiting:
        for name in _references(waiting.pop(0)):
            if name not in names:
                names.append(name)
                waiting.append(parts[name].get("properties", {}))
    return names


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else []
        return own + [
            name for key, value in node.items() if key != "discriminator" for name in _references(value)
        ]
    return [name for item in node for name in _references(item)] if isinstance(node, list) else []


def _told_apart(node: Any) -> Iterator[tuple[str, str]]:
    """Parts that are one of several, with the key that tells them apart: it must be written, whatever its default."""
    found = node.get("discriminator", {}) if isinstance(node, dict) else {}
    for reference in found.get("mapping", {}).values():
        yield reference.rsplit("/", 1)[-1], found["propertyName"]
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for one in inside:
        yield from _told_apart(one)


def _section(name: str, part: dict[str, Any], told: Container[tuple[str, str]]) -> str:
    rows = [
        f"| `{key}` | {_kind(value)} | {'' if (name, key) in told else _default(value)} | "
        f"{_line(value.get('description', ''))} |"
        for key, value in part.get("properties", {}).items()
    ]
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([f"## {name}", "", _line(part.get("description", "")), "", *table, ""])


def _kind(value: dict[str, Any]) -> str:
    fixed = [value["const"]] if "const" in value else value.get("enum")
    if fixed:
        return " or ".join(f"`{one}`" for one in fixed)
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in value:
            return " or ".join(_kind(one) for one in value[several])
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}))}"
    if value.get("type") == "object":
        inside = [*value.get("patternProperties", {}).values(), value.get("additionalProperties", {})]
        return f"names with {_kind(inside[0])}"
    return str(value.get("type", "any"))


def _default(value: dict[str, Any]) -> str:
    return f"`{json.dumps(value['default'])}`" if "default" in value else ""


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the page, or say whether it is current."""
    if "--check" in sys.argv[1:]:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
