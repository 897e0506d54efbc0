"""The control tokens of a model, read from its tokenizer's files: without torch, and without loading a vocabulary.

They are all tokens that the files mark as special, and other added tokens that the chat template writes (`<think>` of
Qwen 3 is not marked).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import huggingface_hub

from storage.errors import WrongRequest
from tasks.coders import files

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
_NAMED = "special_tokens_map.json"
_ADDED = "added_tokens.json"
_TEMPLATES = ("chat_template.jinja", "chat_template.json")

_Read = Callable[[str], bytes | None]


@lru_cache(maxsize=16)
def control_tokens(model: str, revision: str | None = None, *, fetch: bool = False) -> frozenset[str] | None:
    """Texts of a model's control tokens; null where none of its tokenizer's files names any.

    `model` is a folder, a URL or a name on the Hub. For a name on the Hub its cache is read; only where that has
    nothing, and with `fetch`, the Hub is asked.
    """
    read = _file_reader(model, revision)
    tokens = frozenset(_read_control_tokens(read))
    if not tokens and fetch and _fetch_to_cache(model, revision):
        tokens = frozenset(_read_control_tokens(read))
    return tokens or None


def _fetch_to_cache(model: str, revision: str | None) -> bool:
    """Fetch the files that name special tokens into the Hub's cache; whether there are any."""
    try:
        remote = files.hub_folder(model, revision)
        fetched = [remote.file(name) for name in (TOKENIZER, CONFIG)] if remote else []
    except WrongRequest:  # the Hub cannot be asked for one, hence for none
        return False
    return any(fetched)


def _file_reader(model: str, revision: str | None) -> _Read:
    """A function that reads one of the model's files; null where there is none that can be read."""
    if "://" in model or Path(model).expanduser().exists():
        system, root = files.filesystem(str(Path(model).expanduser()) if "://" not in model else model)

        def read(name: str) -> bytes | None:
            try:
                return cast("bytes", system.cat_file(f"{root.rstrip('/')}/{name}"))
            except Exception:  # noqa: BLE001  (a file system may raise anything: the file cannot be read)
                return None

        return read

    def cached(name: str) -> bytes | None:
        try:
            path = huggingface_hub.try_to_load_from_cache(model, name, revision=revision)
            return Path(path).read_bytes() if isinstance(path, str) else None
        except (OSError, ValueError):  # no name of the Hub
            return None

    return cached


def _read_control_tokens(read: _Read) -> Iterator[str]:
    """The control tokens; a token may be repeated."""
    configs = [_json(read(CONFIG)), _json(read(_NAMED))]
    for config in configs:
        yield from _named(config)
    templates = _text([config.get("chat_template") for config in configs])
    templates += "".join((read(name) or b"").decode(errors="replace") for name in _TEMPLATES)
    for content, special in _added(read, configs):
        if special or content in templates:
            yield content


def _named(config: Mapping[str, Any]) -> Iterator[str]:
    """Tokens that a config names by their role, such as `eos_token`."""
    for key, value in config.items():
        if key.endswith("_token"):
            yield from _contents([value])
        elif key in ("additional_special_tokens", "extra_special_tokens"):
            yield from _contents(value.values() if isinstance(value, dict) else value)


def _contents(values: Any) -> Iterator[str]:
    for value in values or ():
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str) and content.strip():
            yield content.strip()


def _added(read: _Read, configs: list[dict[str, Any]]) -> Iterator[tuple[str, bool]]:
    """Tokens that were added to the vocabulary, and whether they are marked as special."""
    rows = [*(_json(read(TOKENIZER)).get("added_tokens") or ())]
    rows += [row for config in configs for row in (config.get("added_tokens_decoder") or {}).values()]
    rows += [{"content": content} for content in _json(read(_ADDED))]
    for row in rows:
        for content in _contents([row]):
            yield content, bool(row.get("special"))


def _text(value: Any) -> str:
    """All text in a value: a config has one chat template, or several with names."""
    if isinstance(value, str):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return "\n".join(map(_text, inner))


def _json(data: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
