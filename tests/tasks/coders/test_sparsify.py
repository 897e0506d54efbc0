"""Checkpoints of sparsify load to their own formula; broken ones are refused by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.dictionary import SparseCoder
from tasks.coders.sparsify import Sparsify
from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random


def load(folder: Path, site: str = "layers.2") -> SparseCoder:
    """Load the coder of a site."""
    return Sparsify(path=str(folder)).load(site, "cpu")


def dense(coder: SparseCoder, x: Tensor) -> Tensor:
    """The coder's activations as a matrix."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


def test_encodes_by_the_formula(sparsify: Write, x: Tensor) -> None:
    """Activations are the top k of relu((x - b_dec) W^T + b), the reconstruction adds b_dec."""
    folder = sparsify()
    w = load_file(folder / "sae.safetensors")

    coder = load(folder)
    p = torch.relu((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"])
    expected = torch.zeros_like(p).scatter(1, p.topk(5).indices, p.topk(5).values)

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        coder.reconstruct(x, coder.encode(x)), expected @ w["W_dec"] + w["b_dec"], rtol=1e-4, atol=1e-4
    )
    assert (5, WIDTH, D_IN) == (coder.declared_l0, coder.width, coder.d_in)


@pytest.mark.parametrize("site", ["layers.2", "layers.2.output"])
def test_folder_of_the_site_is_found(sparsify: Write, site: str) -> None:
    """A path that holds a folder per site gives the site's own coder."""
    sparsify("coders/layers.1", {"k": 3})
    folder = sparsify("coders/layers.2", {"k": 7}).parent

    assert 7 == load(folder, site).declared_l0


def test_old_config_loads(sparsify: Write) -> None:
    """Configs of the forerunner `sae`, without the newer fields, mean topk of d_in * expansion_factor."""
    newer = {"activation": None, "transcode": None, "skip_connection": None, "multi_topk": None}
    folder = sparsify(cfg=newer | {"signed": False, "num_latents": 0, "expansion_factor": WIDTH // D_IN})

    assert WIDTH == load(folder).width


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(sparsify: Write, dtype: torch.dtype) -> None:
    """Weights stored in half precision are computed with in float32."""
    folder = sparsify()
    file = folder / "sae.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file)

    assert torch.float32 == load(folder).encoder.dtype


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"transcode": True}, "transcode"),
        ({"skip_connection": True}, "skip_connection"),
        ({"signed": True}, "signed"),
        ({"activation": "groupmax"}, "groupmax"),
        ({"k": WIDTH + 1}, f"{WIDTH + 1} active features of {WIDTH}"),
        ({"k": 0}, "k: Input should be greater than 0"),
        ({"k": None}, "k: Field required"),
        ({"d_in": "wide"}, "d_in"),
        ({"d_in": D_IN + 1}, rf"encoder.weight has shape \[{WIDTH}, {D_IN}\]"),
    ],
)
def test_wrong_config_is_refused(sparsify: Write, cfg: dict, said: str) -> None:
    """What cannot be loaded is refused by the name that its config gives it."""
    with pytest.raises(WrongRequest, match=said):
        load(sparsify(cfg=cfg))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"W_dec": None}, "no tensor W_dec"),
        ({"W_dec": random(D_IN, WIDTH)}, r"W_dec has shape \[16, 64\], its config asks for \[64, 16\]"),
        ({"b_dec": torch.full((D_IN,), torch.nan)}, "b_dec holds NaN"),
        ({"encoder.bias": torch.full((WIDTH,), torch.inf)}, "encoder.bias holds NaN or infinity"),
    ],
)
def test_wrong_tensors_are_refused(sparsify: Write, tensors: dict, said: str) -> None:
    """A missing, misshapen or broken tensor is named with its file."""
    with pytest.raises(WrongRequest, match=f"sae.safetensors.*{said}"):
        load(sparsify(tensors=tensors))


def test_corrupt_weights_are_refused(sparsify: Write) -> None:
    """A file cut short is refused by name."""
    folder = sparsify()
    whole = (folder / "sae.safetensors").read_bytes()
    (folder / "sae.safetensors").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(WrongRequest, match=r"sae.safetensors is not a whole safetensors file"):
        load(folder)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_corrupt_config_is_refused(sparsify: Write, text: str) -> None:
    """A config that is no JSON object is refused by name."""
    folder = sparsify()
    (folder / "cfg.json").write_text(text)

    with pytest.raises(WrongRequest, match=r"cfg.json"):
        load(folder)


@pytest.mark.parametrize("keep_config", [True, False])
def test_pickle_is_refused(sparsify: Write, *, keep_config: bool) -> None:
    """A pickled checkpoint is refused by name, with the way to convert it."""
    folder = sparsify()
    (folder / "sae.safetensors").rename(folder / "sae.pt")
    if not keep_config:
        (folder / "cfg.json").unlink()

    with pytest.raises(WrongRequest, match=r"sae\.pt, a pickle.*convert"):
        load(folder)


def test_absent_site_is_refused(sparsify: Write) -> None:
    """A site without a coder is refused, with the folders that are there."""
    folder = sparsify("coders/layers.2").parent

    with pytest.raises(WrongRequest, match=r"layers\.7/cfg\.json.*it holds layers\.2"):
        load(folder, "layers.7")


def test_absent_folder_is_refused(tmp_path: Path) -> None:
    """A path where nothing lies is refused, with what was looked for."""
    with pytest.raises(WrongRequest, match=r"looked for layers\.2/cfg\.json and cfg\.json"):
        load(tmp_path / "nowhere")


def test_a_copy_elsewhere_has_the_same_digest(sparsify: Write, tmp_path: Path) -> None:
    """The digest is of the contents: the same in another folder, another when a field changes."""
    folder = sparsify("a/layers.2")
    shutil.copytree(folder, tmp_path / "b")
    here = Sparsify(path=str(folder.parent)).digest("layers.2")
    there = Sparsify(path=str(tmp_path / "b"))

    assert here == there.digest("layers.2")
    config = json.loads((tmp_path / "b/cfg.json").read_text())
    (tmp_path / "b/cfg.json").write_text(json.dumps(config | {"k": 6}))
    assert here != there.digest("layers.2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has what the test says is missing")
def test_a_missing_device_is_refused(sparsify: Write) -> None:
    """A device that the machine lacks is refused by name."""
    with pytest.raises(WrongRequest, match="does not go on the device cuda"):
        Sparsify(path=str(sparsify())).load("layers.2", "cuda")
