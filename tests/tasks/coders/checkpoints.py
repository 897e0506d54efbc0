"""Tiny checkpoints on random weights: what they hold and how they are written."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

D_IN = 16
WIDTH = 64

Write = Callable[..., Path]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers that are the same in every run."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def store(folder: Path, weights: str, cfg: dict, tensors: dict) -> Path:
    """Write a config and its tensors, leaving out what is null."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {name: value for name, value in cfg.items() if value is not None}
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file({name: t for name, t in tensors.items() if t is not None}, folder / weights)
    return folder
