"""Reads the JSON config of a checkpoint against a model of it. Knows nothing of any one format."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from storage.errors import WrongRequest

Config = TypeVar("Config", bound=BaseModel)


def read(file: Path, shown: str) -> dict[str, object]:
    """The JSON object in a file; `shown` is the file as the user knows it. Editors on Windows begin it with a mark."""
    try:
        config = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        msg = f"{shown} is not JSON ({error}): fetch the checkpoint again"
        raise WrongRequest(msg) from error
    if not isinstance(config, dict):
        msg = f"{shown} holds no JSON object: fetch the checkpoint again"
        raise WrongRequest(msg)
    return config


def check(config: dict[str, object], model: type[Config], shown: str) -> Config:
    """The config as the model; the first field that is missing or wrong is named."""
    try:
        return model.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{shown} is not a config of this format: {where}: {first['msg']}"
        raise WrongRequest(msg) from error
