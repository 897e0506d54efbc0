"""Coders that the library saves load to what the library itself makes of them."""

import importlib
import json
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from tasks.coders.base import HookSite
from tasks.coders.dictionary_learning import DictionaryLearning
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random

K = 5


def library(module: str) -> ModuleType:
    """A module of the library; skips the test where it is not installed, or not with all that it needs."""
    pytest.importorskip("dictionary_learning", exc_type=ImportError)
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(f"dictionary_learning.{module}")


CLASSES = {
    "AutoEncoder": ("dictionary", ()),
    "AutoEncoderNew": ("dictionary", ()),
    "GatedAutoEncoder": ("dictionary", ()),
    "JumpReluAutoEncoder": ("dictionary", ()),
    "AutoEncoderTopK": ("trainers.top_k", (K,)),
    "BatchTopKSAE": ("trainers.batch_top_k", (K,)),
    "MatryoshkaBatchTopKSAE": ("trainers.matryoshka_batch_top_k", (K, [16, WIDTH - 16])),
}


def scrambled(module: nn.Module) -> nn.Module:
    """The module with random numbers for all that it has learnt, so that no part of it does nothing."""
    state = module.state_dict()
    made = {
        name: random(value.numel(), seed=number).reshape(value.shape) / 2
        for number, (name, value) in enumerate(state.items())
        if value.is_floating_point()
    }
    if "threshold" in made:
        made["threshold"] = made["threshold"].abs() * 2
    module.load_state_dict(state | made)
    return module


@torch.no_grad()
@pytest.mark.parametrize("name", CLASSES)
def test_the_class_agrees(tmp_path: Path, x: Tensor, name: str) -> None:
    """Activations and reconstructions of a saved coder are those of the class that the library loads."""
    module, arguments = CLASSES[name]
    class_ = getattr(library(module), name)
    state = scrambled(class_(D_IN, WIDTH, *arguments)).state_dict()
    torch.save(state, tmp_path / "ae.pt")
    trainer = {"dict_class": name, "activation_dim": D_IN, "dict_size": WIDTH, "layer": 3}
    trainer |= {"k": K} if K in arguments else {}
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer}))

    theirs = class_.from_pretrained(tmp_path / "ae.pt")
    ours = DictionaryLearning(path=str(tmp_path)).load(None, HookSite("layers.3", D_IN))
    firings = ours.encode(x)
    result = torch.zeros(len(x), WIDTH)
    result[firings.token, firings.feature] = firings.activation
    expected = theirs.encode(x)

    assert expected.count_nonzero() > len(x)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.reconstruct(x, firings), theirs.decode(expected), rtol=1e-4, atol=1e-4)
