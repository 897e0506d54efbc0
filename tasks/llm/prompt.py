"""Prompts are files: `<component>.prompt.txt` beside the component; few-shot turns are data, `<component>.shots.yaml`.

Slots are `{name}` and are filled in one pass, so that an explanation which itself contains `{contexts}` or JSON
braces stays as it is.
"""

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import yaml

from storage.errors import WrongRequest

VERSION = 5
"""Raise it when contexts are rendered or replies read in another way, so that explanations and judgements change, and
when the tables of either, or `requests`, get other columns."""

_SLOT = re.compile(r"\{([a-z_]+)\}")


@cache
def read_prompt(package: str, name: str, override: str | None = None) -> str:
    """The text of a prompt file, or of the file that the config names instead."""
    if override is not None:
        try:
            text = Path(override).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"prompt {override} cannot be read ({error}); name a text file"
            raise WrongRequest(msg) from error
        if not text:
            msg = f"prompt {override} is empty; write the prompt into it, or leave the key out"
            raise WrongRequest(msg)
        return text
    return files(package).joinpath(name).read_text(encoding="utf-8").strip()


@cache
def read_shots(package: str, name: str) -> list[dict]:
    """Few-shot turns: hand-made contexts and the answers to them."""
    return yaml.safe_load(files(package).joinpath(name).read_text(encoding="utf-8"))


def fill(template: str, **slots: str) -> str:
    """Put values into the slots. Raises `KeyError` for a slot without a value; other braces are left alone."""
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def digest(package: str, kind: str, override: str | None = None, shots: str | None = None) -> str:
    """Hash of a component's prompt and few-shot files, its own if none are named; 16 hexadecimal digits."""
    folder = files(package)
    texts = [read_prompt(package, f"{kind}.prompt.txt", override)]
    few_shots = folder.joinpath(shots or f"{kind}.shots.yaml")
    if few_shots.is_file():
        texts.append(few_shots.read_text(encoding="utf-8"))
    others = (file for file in folder.iterdir() if re.fullmatch(rf"{kind}\.\w+\.prompt\.txt", file.name))
    texts += [file.read_text(encoding="utf-8") for file in sorted(others, key=lambda file: file.name)]
    return sha256("\0".join(texts).encode()).hexdigest()[:16]
