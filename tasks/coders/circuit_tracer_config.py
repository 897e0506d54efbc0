"""What the configs in a folder of circuit-tracer say. Loads no torch."""

from pathlib import Path
from typing import Literal, NamedTuple, get_args

import yaml
from pydantic import BaseModel, Field

from storage.errors import WrongRequest
from tasks.coders import config, files

CONFIG = "config.yaml"
TRAINING = ("wandb-config.yaml", "wanb-config.yaml")
"""What Weights & Biases kept of the training; some repositories misspell it."""

QWEN_3 = {
    "model_kind": "transcoder_set",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "hook_mlp_out",
}
"""What holds of a set with a `wandb-config.yaml`, where no config says otherwise."""

Kind = Literal["transcoder_set", "cross_layer_transcoder"]


class Hooks(BaseModel):
    """What `config.yaml` says; hooks lack the `blocks.5.` before them."""

    model_kind: Kind
    feature_input_hook: str
    feature_output_hook: str
    transcoders: list[str] | None = None
    activation: str | None = None
    k: int | None = Field(default=None, gt=0)


class Number(BaseModel):
    """A number as Weights & Biases writes it."""

    value: int = Field(gt=0)


class Training(BaseModel):
    """What `wandb-config.yaml` says of sizes."""

    d_model: Number
    d_feature: Number


class Configs(NamedTuple):
    """What a folder's configs say."""

    hooks: Hooks
    training: Training | None
    names: tuple[str, ...]
    """Those that are there, and there is one at least."""
    shown: str
    """The first of them as the user knows it."""


def read(path: str, revision: str | None) -> Configs:
    """The configs of a folder. Raises `WrongRequest` for one that is missing, no YAML or not circuit-tracer's."""
    said, training = _content(path, CONFIG, revision), None
    names = [] if said is None else [CONFIG]
    # Not asked for needlessly: the Hub's cache cannot say that there is no such file.
    for name in TRAINING if said is None or not said.keys() >= QWEN_3.keys() else ():
        sizes = _content(path, name, revision)
        if sizes is not None:
            training = config.check(sizes, Training, f"{path}/{name}")
            said = QWEN_3 | (said or {})
            names.append(name)
            break
    if said is None:
        # Nothing is brought: that there is none is said.
        with files.bring(path, (CONFIG,), revision):
            said = {}
    shown = f"{path}/{(names or [CONFIG])[0]}"
    return Configs(config.check(said, Hooks, shown), training, tuple(names), shown)


def is_there(path: str, revision: str | None) -> bool:
    """Whether a folder has a config with what circuit-tracer's have, or those of its trainings."""
    if _peek(path, CONFIG, revision).get("model_kind") in get_args(Kind):
        return True
    return any(_peek(path, name, revision).keys() >= Training.model_fields.keys() for name in TRAINING)


def _peek(path: str, name: str, revision: str | None) -> dict[str, object]:
    """What a config says; nothing where there is none, or something else of that name."""
    if not files.has(path, name, revision):
        return {}
    try:
        return _content(path, name, revision) or {}
    except (WrongRequest, OSError):
        return {}


def _content(path: str, name: str, revision: str | None) -> dict[str, object] | None:
    """What a config says; null where there is none of this name."""
    if not files.has(path, name, revision):
        return None
    with files.bring(path, (name,), revision) as folder:
        return _yaml(folder / name, f"{path}/{name}")


def _yaml(file: Path, shown: str) -> dict[str, object]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        msg = f"{shown} is not YAML ({reason}): fetch the checkpoint again"
        raise WrongRequest(msg) from error
    if not isinstance(content, dict):
        msg = f"{shown} holds no keys: fetch the checkpoint again"
        raise WrongRequest(msg)
    return content
