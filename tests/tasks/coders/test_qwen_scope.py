"""Qwen-Scope's coders load to their formula, with layer and k from names or options; broken ones are refused."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.qwen_scope import QwenScope
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random
from tests.tasks.coders.formula import PLACE, close, dense, rebuilt
from tests.tasks.coders.layouts import LAYOUTS, lay

REPO = "Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_5"


def weights(layer: int = 7, **changed: object) -> dict[str, object]:
    """Tensors as the release has them; null removes one."""
    tensors = {
        "W_enc": random(WIDTH, D_IN, seed=layer),
        "W_dec": random(D_IN, WIDTH, seed=2),
        "b_enc": random(WIDTH, seed=3),
        "b_dec": random(D_IN, seed=4),
    } | changed
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def write(folder: Path, path: str = REPO, layers: tuple[int, ...] = (6, 7), **changed: object) -> Path:
    """A copy of the repository with some of its layers."""
    there = folder / path
    there.mkdir(parents=True)
    for layer in layers:
        torch.save(weights(layer, **changed), there / f"layer{layer}.sae.pt")
    return there


def load(folder: Path, site: str | None = None, **options: object) -> SparseCoder:
    """A coder of a folder."""
    return QwenScope.model_validate({"path": str(folder), **options}).load(site, PLACE)


def test_encodes_by_the_formula(tmp_path: Path, x: Tensor) -> None:
    """The k largest of x W_enc^T + b_enc; b_dec is added and never subtracted."""
    w = {name: value for name, value in weights().items() if isinstance(value, Tensor)}
    coder = load(write(tmp_path), layer=7)

    pre = x @ w["W_enc"].T + w["b_enc"]
    expected = torch.zeros_like(pre).scatter(1, pre.topk(5).indices, pre.topk(5).values).relu()
    close(dense(coder, x), expected)
    close(rebuilt(coder, x), expected @ w["W_dec"].T + w["b_dec"])
    assert (5, SAME_SITE, WIDTH) == (coder.declared_l0, coder.target, coder.width)


def test_the_layer_is_named_somewhere(tmp_path: Path) -> None:
    """By the option, the file, the site, or by being the only one."""
    folder = write(tmp_path)
    expected = load(folder, layer=7).encoder
    result = [
        load(folder / "layer7.sae.pt"),
        load(folder, "layers.7"),
        load(folder, "model.layers.7.output"),
        load(write(tmp_path / "one", layers=(7,))),
    ]
    assert all(torch.equal(expected, coder.encoder) for coder in result)
    with pytest.raises(WrongRequest, match=r"L0_5 has a coder per layer: give the coder's source a layer"):
        load(folder)
    with pytest.raises(
        WrongRequest, match=r"L0_5 has no layer9.sae.pt: it holds layer6.sae.pt, layer7.sae.pt"
    ):
        load(folder, layer=9)


@pytest.mark.parametrize(
    ("path", "options", "site"),
    [
        (REPO, {"layer": 3}, "model.layers.3.output"),
        (f"{REPO}/layer30.sae.pt", {}, "model.layers.30.output"),
        (f"{REPO}/layer30.sae.pt", {"layer": 3}, "model.layers.30.output"),
        (REPO, {}, None),
    ],
)
def test_the_layer_declares_the_site(path: str, options: dict, site: str | None) -> None:
    """The residual stream after it; null where no layer is chosen, of a repository that nobody has asked."""
    declared = QwenScope(path=path, **options).declared_site()
    assert site == (declared.site if declared else None)


def test_k_is_named_somewhere(tmp_path: Path) -> None:
    """By the repository or the option, which is stronger; it must be a number of features."""
    folder = write(tmp_path, "mine")
    assert (3, 9) == (load(folder, layer=7, k=3).declared_l0, load(write(tmp_path), layer=7, k=9).declared_l0)
    with pytest.raises(WrongRequest, match=r"layer7.sae.pt does not say how many features fire.* a k$"):
        load(folder, layer=7)
    with pytest.raises(WrongRequest, match=r"has 64 features, of which 65 cannot fire"):
        load(folder, layer=7, k=WIDTH + 1)
    with pytest.raises(ValidationError, match="greater than 0"):
        load(folder, layer=7, k=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """Weights stored in half precision are computed with in float32."""
    half: dict[str, Any] = {n: value.to(dtype) for n, value in weights().items() if isinstance(value, Tensor)}
    assert torch.float32 == load(write(tmp_path, **half), layer=7).encoder.dtype


def test_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is known by its files, a repository by its name, without asking the Hub."""
    monkeypatch.setattr(files.HubFolder, "file", lambda *_: pytest.fail("the Hub was asked"))
    folder = write(tmp_path)
    for path in (str(folder), f"{folder}/layer6.sae.pt", REPO, f"{REPO}/layer6.sae.pt"):
        assert QwenScope(path=path) == QwenScope.detect(path, None)
    for path in ("Qwen/Qwen3-8B-Base", "owner/name", f"{folder}/other.pt"):
        assert QwenScope.detect(path, None) is None


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "qwen_scope"])
def test_others_are_not_claimed(tmp_path: Path, layout: str) -> None:
    """A folder of another format is left to it."""
    assert QwenScope.detect(str(lay(tmp_path, layout)), None) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"W_enc": None}, " has no tensor W_enc: it holds W_dec, b_dec, b_enc"),
        ({"b_dec": None}, " has no tensor b_dec"),
        ({"W_enc": random(3)}, r": W_enc has shape \[3\], where a matrix is expected"),
        ({"W_dec": random(WIDTH, D_IN)}, r": W_dec has shape \[64, 16\], where \[16, 64\] is expected"),
        ({"b_enc": torch.full((WIDTH,), torch.inf)}, ": b_enc holds NaN or infinity"),
        ({"args": argparse.Namespace()}, r" holds a pickled argparse\.Namespace"),
    ],
)
def test_broken_checkpoints_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    """A missing, misshapen, broken or pickled value is named with its file."""
    with pytest.raises(WrongRequest, match=rf"L0_5/layer7\.sae\.pt{message}[^\n]*$"):
        load(write(tmp_path, **changed), layer=7)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """A file cut short is refused by name."""
    file = write(tmp_path) / "layer7.sae.pt"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WrongRequest, match=r"layer7.sae.pt is not a whole file of torch.save"):
        load(file)


def test_the_digest_is_of_the_layers_file(tmp_path: Path) -> None:
    """However the layer is named; another layer has another digest."""
    folder = write(tmp_path)
    item = QwenScope(path=str(folder), layer=7).digest(None)
    assert (
        item
        == QwenScope(path=str(folder)).digest("layers.7")
        == QwenScope(path=f"{folder}/layer7.sae.pt").digest(None)
    )
    assert item != QwenScope(path=str(folder), layer=6).digest(None)


def test_how_many_fire_is_part_of_what_it_is(tmp_path: Path) -> None:
    """The same files under a name that promises another k are another coder; under another place they are not."""
    five, nine, moved = (
        QwenScope(path=str(write(tmp_path, path)), layer=7).identity("layers.7")
        for path in (REPO, REPO.replace("L0_5", "L0_9"), f"elsewhere/{REPO}")
    )

    assert five == moved
    assert five != nine
