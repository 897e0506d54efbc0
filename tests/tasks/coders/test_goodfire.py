"""Goodfire's and qresearch's coders load to their formula; broken ones are refused by file and tensor."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.goodfire import Goodfire
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random
from tests.tasks.coders.formula import PLACE, close, dense, jump, rebuilt
from tests.tasks.coders.layouts import LAYOUTS, lay

FILE = "Llama-3.1-8B-Instruct-SAE-l19.pth"
GOODFIRE, QRESEARCH = "_linear", ""


def weights(part: str = GOODFIRE, **changed: object) -> dict[str, object]:
    """Tensors as a release has them; null removes one, `__` stands for a dot."""
    tensors = {
        f"encoder{part}.weight": random(WIDTH, D_IN, seed=1),
        f"encoder{part}.bias": random(WIDTH, seed=2),
        f"decoder{part}.weight": random(D_IN, WIDTH, seed=3),
        f"decoder{part}.bias": random(D_IN, seed=4),
    } | {name.replace("__", "."): tensor for name, tensor in changed.items()}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def write(folder: Path, name: str = FILE, part: str = GOODFIRE, **changed: object) -> Path:
    """A checkpoint in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights(part, **changed), folder / name)
    return folder


def load(folder: Path) -> SparseCoder:
    """The coder of a folder or file."""
    return Goodfire(path=str(folder)).load(None, PLACE)


@pytest.mark.parametrize("part", [GOODFIRE, QRESEARCH])
def test_encodes_by_the_formula(tmp_path: Path, x: Tensor, part: str) -> None:
    """relu(x W^T + b); the decoder's bias is added and never subtracted."""
    w = {name: value for name, value in weights(part).items() if isinstance(value, Tensor)}
    coder = load(write(tmp_path, part=part))

    expected = jump(x @ w[f"encoder{part}.weight"].T + w[f"encoder{part}.bias"])
    close(dense(coder, x), expected)
    close(rebuilt(coder, x), expected @ w[f"decoder{part}.weight"].T + w[f"decoder{part}.bias"])
    assert (None, SAME_SITE, WIDTH) == (coder.declared_l0, coder.target, coder.width)


@pytest.mark.parametrize(
    ("path", "site"),
    [
        ("Goodfire/Llama-3.3-70B-Instruct-SAE-l50", "model.layers.50.output"),
        (
            "Goodfire/Llama-3.1-8B-Instruct-SAE-l19/Llama-3.1-8B-Instruct-SAE-l19.pth",
            "model.layers.19.output",
        ),
        ("qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19", "model.layers.19.output"),
        ("mine/sae.pt", None),
    ],
)
def test_the_name_declares_the_site(path: str, site: str | None) -> None:
    """The residual stream after the layer that it ends with; another name declares none."""
    declared = Goodfire(path=path).declared_site()
    assert site == (declared.site if declared else None)


def test_a_folder_with_one_file_names_it(tmp_path: Path) -> None:
    """Beside others that are called otherwise, too; of several no one is guessed."""
    folder = write(write(tmp_path / "Goodfire"), "optimiser.pt")
    declared = Goodfire(path=str(folder)).declared_site()
    assert declared is not None
    assert ("model.layers.19.output", WIDTH) == (declared.site, load(folder).width)
    assert WIDTH == load(write(tmp_path / "other", "sae.pt")).width
    with pytest.raises(
        WrongRequest, match=r"no single .pt or .pth file \(it holds a.pt, b.pt\): name the file"
    ):
        load(write(write(tmp_path / "two", "a.pt"), "b.pt"))
    with pytest.raises(WrongRequest, match=r"no single .pt or .pth file \(none was found\)"):
        load(tmp_path / "nowhere")


def test_a_repository_holds_a_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ending in .pt or in .pth, as one has it and another has not."""
    write(tmp_path)
    monkeypatch.setattr(
        files.HubFolder, "file", lambda self, name: result if (result := tmp_path / name).exists() else None
    )
    assert WIDTH == load(Path("Goodfire/Llama-3.1-8B-Instruct-SAE-l19")).width
    with pytest.raises(WrongRequest, match=r"l50 names no single .pt or .pth file"):
        load(Path("Goodfire/Llama-3.3-70B-Instruct-SAE-l50"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """Weights stored in half precision are computed with in float32."""
    half: dict[str, Any] = {
        name.replace(".", "__"): value.to(dtype)
        for name, value in weights().items()
        if isinstance(value, Tensor)
    }
    assert torch.float32 == load(write(tmp_path, **half)).encoder.dtype


def test_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, or a repository, whose name ends with SAE and a layer; any other file needs the kind."""
    monkeypatch.setattr(files.HubFolder, "file", lambda *_: pytest.fail("the Hub was asked"))
    folder = write(tmp_path)
    repo = "qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19"
    for path in (str(folder), f"{folder}/{FILE}", repo):
        assert Goodfire(path=path) == Goodfire.detect(path, None)
    for path in ("owner/name", f"{folder}/other.pt", str(write(tmp_path / "x", "sae.pt"))):
        assert Goodfire.detect(path, None) is None


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "goodfire"])
def test_others_are_not_claimed(tmp_path: Path, layout: str) -> None:
    """A folder of another format is left to it."""
    assert Goodfire.detect(str(lay(tmp_path, layout)), None) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder_linear__weight": None}, r" has no tensor encoder_linear\.weight"),
        ({"decoder_linear__bias": None}, r" has no tensor decoder_linear\.bias"),
        (
            {"encoder_linear__weight": random(3)},
            r": encoder_linear\.weight has shape \[3\], where a matrix is",
        ),
        (
            {"decoder_linear__weight": random(WIDTH, D_IN)},
            r": decoder_linear\.weight has shape \[64, 16\], where \[16, 64\] is expected",
        ),
        ({"encoder_linear__bias": torch.full((WIDTH,), torch.nan)}, r": encoder_linear\.bias holds NaN"),
        ({"args": argparse.Namespace()}, r" holds a pickled argparse\.Namespace"),
    ],
)
def test_broken_checkpoints_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    """A missing, misshapen, broken or pickled value is named with its file."""
    with pytest.raises(WrongRequest, match=rf"SAE-l19\.pth{message}[^\n]*$"):
        load(write(tmp_path, **changed))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """A file cut short is refused by name."""
    file = write(tmp_path) / FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WrongRequest, match=r"SAE-l19.pth is not a whole file of torch.save"):
        load(file)


def test_the_digest_is_of_the_contents(tmp_path: Path) -> None:
    """Equal files have equal digests wherever they lie, and a changed one another."""
    item, same, other = (
        write(tmp_path / "a"),
        write(tmp_path / "b"),
        write(tmp_path / "c", encoder_linear__bias=random(WIDTH, seed=9)),
    )
    first, second, third = (Goodfire(path=str(folder)).digest(None) for folder in (item, same, other))
    assert first == second != third
