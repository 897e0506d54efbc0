"""YAML as configs are written in: each key once, `on` and `off` are words, and no bigger than it looks.

The parser itself would take the last of two keys and say nothing, read `off` as false, follow any depth until Python
gives up, and let a few aliases stand for a billion values.
"""

from pathlib import Path
from typing import Any

import yaml

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
    """What a text says. Raises `yaml.YAMLError` where it is no YAML, names a key twice, or is too deep or too large."""
    try:
        return yaml.load(text, _Strict)  # noqa: S506  (a subclass of the safe loader)
    except (
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # a date in month 13, a number of 5,000 digits
        raise yaml.YAMLError(str(error)) from error


def read(file: Path) -> Any:
    """What a file says, with or without a byte-order mark. Raises `OSError`, `UnicodeDecodeError`, `yaml.YAMLError`."""
    return parse(file.read_text(encoding="utf-8-sig"))
