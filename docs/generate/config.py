"""docs/config.md: every key of a run's config, generated from the config's own schema.

`python docs/generate/config.py` writes it; `--check` only says whether it is current.
"""

import argparse
import json
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from flows.config import RunConfig

FILE = Path(__file__).parents[1] / "config.md"

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
    discriminators = set(_discriminators(schema))
    sections = (_section(name, parts[name], discriminators) for name in _reachable(schema, parts))
    return "\n".join([HEAD, *sections])


def _reachable(schema: dict[str, Any], parts: dict[str, Any]) -> list[str]:
    """The parts in the order in which the config names them."""
    names, queue = ["RunConfig"], [schema["properties"]]
    while queue:
        for name in _references(queue.pop(0)):
            if name not in names:
                names.append(name)
                queue.append(parts[name].get("properties", {}))
    return names


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else []
        return own + [
            name for key, value in node.items() if key != "discriminator" for name in _references(value)
        ]
    return [name for item in node for name in _references(item)] if isinstance(node, list) else []


def _discriminators(node: Any) -> Iterator[tuple[str, str]]:
    """Members of unions, with the key that tells them apart: it must be written, whatever its default."""
    discriminator = node.get("discriminator", {}) if isinstance(node, dict) else {}
    for reference in discriminator.get("mapping", {}).values():
        yield reference.rsplit("/", 1)[-1], discriminator["propertyName"]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _discriminators(child)


def _section(name: str, part: dict[str, Any], discriminators: Container[tuple[str, str]]) -> str:
    rows = [
        f"| `{key}` | {_kind(value)} | {'' if (name, key) in discriminators else _default(value)} | "
        f"{_line(value.get('description', ''))} |"
        for key, value in part.get("properties", {}).items()
    ]
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([f"## {name}", "", _line(part.get("description", "")), "", *table, ""])


def _kind(value: dict[str, Any]) -> str:
    fixed = [value["const"]] if "const" in value else value.get("enum")
    if fixed:
        return " or ".join(f"`{option}`" for option in fixed)
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for union in ("anyOf", "oneOf"):
        if union in value:
            return " or ".join(_kind(member) for member in value[union])
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}))}"
    if value.get("type") == "object":
        values = [*value.get("patternProperties", {}).values(), value.get("additionalProperties", {})]
        return f"names with {_kind(values[0])}"
    return str(value.get("type", "any"))


def _default(value: dict[str, Any]) -> str:
    return f"`{json.dumps(value['default'])}`" if "default" in value else ""


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the page, or compare it with what is there."""
    parser = argparse.ArgumentParser(description="Write docs/config.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when it is not current")
    if not parser.parse_args().check:
        FILE.write_text(page(), encoding="utf-8")
        return 0
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write("docs/config.md is not what flows/config.py says; run make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
