"""sparsify itself says what its checkpoints mean: all that it can save, gloss encodes and reconstructs alike."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tasks.coders.base import HookSite
from tasks.coders.sparse_coder import SparseCoder
from tasks.coders.sparsify import Sparsify
from tests.tasks.coders.checkpoints import D_IN, WIDTH
from tests.tasks.coders.parity.compared import assert_same, randomise

with warnings.catch_warnings(action="ignore"):
    sparsify: Any = pytest.importorskip("sparsify")
    if not hasattr(sparsify, "SparseCoderConfig"):
        pytest.skip("another package of that name", allow_module_level=True)


def made(*, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """A coder of the library, with random weights."""
    coder = sparsify.SparseCoder(D_IN, sparsify.SparseCoderConfig(**options), dtype=dtype)
    randomise(coder)
    return coder


def loaded(folder: Path, site: str) -> SparseCoder:
    """The coder as gloss loads it."""
    return Sparsify(path=str(folder)).load(site, HookSite(site, D_IN))


@torch.inference_mode()
def assert_agrees(theirs: Any, coder: SparseCoder, x: Tensor) -> None:
    """gloss' coder does to vectors what the library's does."""
    result = theirs.encode(x)
    encoded = torch.zeros(len(x), WIDTH).scatter(1, result.top_indices, result.top_acts)
    skipped = 0 if theirs.W_skip is None else x @ theirs.W_skip.mT
    assert_same(coder, x, encoded, theirs.decode(result.top_acts, result.top_indices) + skipped)


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("transcode", [True, False])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("size", [{"num_latents": WIDTH}, {"expansion_factor": WIDTH // D_IN}], ids=str)
def test_every_kind(
    tmp_path: Path, x: Tensor, activation: str, size: dict[str, Any], *, transcode: bool, skip: bool
) -> None:
    """What the library saves of any kind, gloss loads as the same coder."""
    theirs = made(activation=activation, k=8, transcode=transcode, skip_connection=skip, **size)
    theirs.save_to_disk(tmp_path / "layers.2.mlp")

    coder = loaded(tmp_path, "layers.2.mlp.input" if transcode or skip else "layers.2.mlp")

    assert_agrees(theirs, coder, x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_precisions_hold_the_same_numbers(tmp_path: Path, x: Tensor, dtype: torch.dtype) -> None:
    """What is saved in another precision is the coder that has these numbers in float32."""
    theirs = made(dtype=dtype, num_latents=WIDTH, k=8)
    theirs.save_to_disk(tmp_path / "layers.2")

    assert_agrees(theirs.float(), loaded(tmp_path, "layers.2"), x)


def test_an_old_config(tmp_path: Path, x: Tensor) -> None:
    """A config without the newer fields is read as the library reads it."""
    made(num_latents=WIDTH, k=8, multi_topk=True).save_to_disk(tmp_path / "layers.2")
    file = tmp_path / "layers.2/cfg.json"
    newer = {"activation", "transcode", "skip_connection", "multi_topk"}
    old = {name: value for name, value in json.loads(file.read_text()).items() if name not in newer}
    file.write_text(json.dumps(old | {"signed": False}))

    theirs = sparsify.SparseCoder.load_from_disk(tmp_path / "layers.2")

    assert_agrees(theirs, loaded(tmp_path, "layers.2"), x)
