"""YAML in which each key is said once; the parser itself would take the last one and say nothing."""

from typing import Any

import yaml


class _Once(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, before what `<<` merges is there, which may be said again."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  (the parser's own signature)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {key.value} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(text: str) -> Any:
    """What a text says. Raises `yaml.YAMLError` where it is no YAML, or names a key twice."""
    return yaml.load(text, _Once)  # noqa: S506  (a subclass of the safe loader)
