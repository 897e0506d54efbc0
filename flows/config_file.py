"""Load a config from YAML, apply `--set a.b=c`, and state what is wrong with it in one sentence.

The YAML is strict: each key once, `on` and `off` are words, depth and size are bounded. The parser itself would take
the last of two equal keys silently, read `off` as false, follow any depth until Python gives up, and let a few aliases
stand for a billion values. A sentence has the dotted path, what was given and what is allowed.
"""

import difflib
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from flows.config import RunConfig
from flows.sample_requests import sample_requests
from storage.errors import WrongRequest
from tasks.fields import Flag

DEEPEST = 50
"""Levels of lists and mappings within each other."""
MOST = 1_000_000
"""Values, each as often as aliases repeat it."""
BOOLEANS = {"true", "True", "TRUE", "false", "False", "FALSE"}
"""As in YAML 1.2; `yes`, `no`, `on` and `off` stay words, which keys that take a boolean understand as well."""


class _Strict(yaml.SafeLoader):
    """Refuses what is nested too deep or repeated too often, and a mapping that names a key twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"it is nested deeper than {DEEPEST} levels", problem_mark=mark
            )
        node = super().compose_node(parent, index)  # type: ignore[arg-type]
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(problem="an alias stands inside of what it is for", problem_mark=mark)
        self._sizes[id(node)] = size = 1 + sum(self._sizes[id(child)] for child in _children(node))
        if size > MOST:
            problem = f"with its aliases it holds more than {MOST:,} values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  (the parser's own signature)
        # Before what `<<` merges is there, which may be said again.
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {key.value} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_word(self, node: yaml.ScalarNode) -> bool | str:
        """True or false; the other words of YAML 1.1 as they are."""
        text = self.construct_scalar(node)
        return text.lower() == "true" if text in BOOLEANS else text


_Strict.add_constructor("tag:yaml.org,2002:bool", _Strict.construct_word)


def _children(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def parse(text: str) -> Any:
    """Parse a text. Raises `yaml.YAMLError` where it is no YAML, names a key twice, or is too deep or too large."""
    try:
        return yaml.load(text, _Strict)  # noqa: S506  (a subclass of the safe loader)
    except (
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # a date in month 13, a number of 5,000 digits
        raise yaml.YAMLError(str(error)) from error


def read(file: Path) -> Any:
    """Parse a file, with or without a byte-order mark. Raises `OSError`, `UnicodeDecodeError`, `yaml.YAMLError`."""
    return parse(file.read_text(encoding="utf-8-sig"))


_CREDENTIALS = re.compile(r"//[^\s/@'\"]*@")
"""A user and a password in an address, which are repeated nowhere."""
WANTED = {
    **dict.fromkeys(("list_type", "tuple_type"), "a list is wanted"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping of keys is wanted"),
    "string_type": "text is wanted, in quotes where YAML takes it for something else",
}
"""Sentences in place of pydantic's, which name Python types."""


def fault(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a config, and how many more there are."""
    # A misspelt key is reported before the missing key that it was meant to be.
    every = error.errors(include_url=False)
    # An error of a list that follows from an error of its item is left out.
    every = [f for f in every if not any(f["loc"] == g["loc"][: len(f["loc"])] != g["loc"] for g in every)]
    faults = sorted(every, key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    path, schema = _walk(first["loc"], _schema(model))
    more = len(faults) - 1
    others = f" (and {more} more {'fault' if more == 1 else 'faults'})" if more else ""
    return f"{path or 'config'} {_sentence(first, schema)}{others}"


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema, which takes tenths of a second to make."""
    return model.model_json_schema()


def _walk(loc: tuple[int | str, ...], root: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The dotted path as a user writes it, without union tags, and the schema of what holds the faulty key."""
    schema, holder, path = root, root, []
    for part in loc:
        schema = _resolved(schema, root)
        tags = schema.get("discriminator", {}).get("mapping", {})
        if part in tags:
            schema = {"$ref": tags[part]}
            continue
        holder = schema
        path.append(str(part))
        schema = _child(schema, part)
    return ".".join(path), _resolved(holder, root)


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def _child(schema: dict[str, Any], part: int | str) -> dict[str, Any]:
    if isinstance(part, int):
        return schema.get("items", {})
    child = schema.get("properties", {}).get(part)
    if child is not None:
        return child
    # A mapping whose keys must match a pattern has its values' schema under that pattern.
    more = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties", {}))
    return more if isinstance(more, dict) else {}


def _sentence(fault: Any, holder: dict[str, Any]) -> str:
    given = _CREDENTIALS.sub("//[password]@", repr(fault["input"]))
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
    node: Any = data
    for depth, key in enumerate(parents):
        node = _step(node, key, ".".join(parents[: depth + 1]), dotted)
    if isinstance(node, list):
        node[_index(node, last, dotted)] = _value(setting, value)
    elif isinstance(node, dict):
        node[last] = _value(setting, value)
    else:
        msg = f"--set {dotted}: {'.'.join(parents)} is {node!r}, which has no keys"
        raise WrongRequest(msg)


def _value(setting: str, value: str) -> Any:
    try:
        return parse(value)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        msg = f"--set {_shortened(setting)} cannot be read as YAML ({problem}); quote it as YAML wants it"
        raise WrongRequest(msg) from None


def _shortened(text: str) -> str:
    return text if len(text) <= LINE else f"{text[:LINE]}…"


def _step(node: Any, key: str, path: str, dotted: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, dotted)]
    if isinstance(node, dict):
        return node.setdefault(key, {})
    msg = f"--set {dotted}: {path} does not exist, and what is above it has no keys"
    raise WrongRequest(msg)


def _index(items: list, key: str, dotted: str) -> int:
    if key.isdecimal() and len(key) < 10 and int(key) < len(items):
        return int(key)
    there = f"a list of {len(items)}, 0 to {len(items) - 1}" if items else "an empty list"
    msg = (
        f"--set {dotted}: {key!r} is not an index of {there}; --set changes what is there and appends nothing: "
        "write it into the file, or set the whole list"
    )
    raise WrongRequest(msg)


def load_config(path: str | Path, settings: tuple[str, ...] = (), lake: str | None = None) -> RunConfig:
    """Read a YAML file, apply `a.b=c` settings and validate.

    Raises `WrongRequest` that names the dotted path, what was given and what is allowed.
    """
    file = Path(path)
    try:
        data = read(file)
    except FileNotFoundError:
        msg = f"config {path} does not exist; give the path of a YAML file"
        raise WrongRequest(msg) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        msg = f"config {path} cannot be read as YAML ({problem})"
        raise WrongRequest(msg) from None
    if not isinstance(data, dict):
        there = {list: "a list", type(None): "nothing", str: "text"}.get(type(data), "a single value")
        msg = f"config {path} must be a mapping of keys, and holds {there}"
        raise WrongRequest(msg)
    for setting in settings:
        apply(data, setting)
    if lake is not None:
        data["lake"] = lake
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as error:
        msg = f"{path}: {fault(error, RunConfig)}"
        raise WrongRequest(msg) from None
    for _ in sample_requests(config.explainers, config.scorers, own_prompts=True):
        pass  # a prompt file that is empty, or lacks its slot, is refused before anybody is asked
    return config
