"""Checkpoints of sparsify load to their own formula; broken ones are refused by name."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.base import DeclaredSite, HookSite
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tasks.coders.sparsify import Sparsify
from tests.tasks.coders.checkpoints import D_IN, WIDTH, Write, random

SITE = "layers.2"


def load(folder: Path, site: str | None = SITE, at: str | None = None) -> SparseCoder:
    """Load the coder of a site; `at` is the model's name of it where the config leaves it out."""
    return Sparsify(path=str(folder)).load(site, HookSite(at or site or SITE, D_IN))


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


def test_groupmax_takes_one_of_each_group(sparsify: Write, x: Tensor) -> None:
    """Features stand in k groups of neighbours, and the largest of each group fires if it is above zero."""
    folder = sparsify(cfg={"activation": "groupmax", "k": 4})
    w = load_file(folder / "sae.safetensors")

    p = torch.relu((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"])
    groups = p.view(len(x), 4, WIDTH // 4)
    expected = (groups * (groups == groups.amax(2, keepdim=True))).view_as(p)

    torch.testing.assert_close(dense(load(folder), x), expected, rtol=1e-4, atol=1e-5)


def test_signed_takes_the_largest_of_either_sign(sparsify: Write, x: Tensor) -> None:
    """The forerunner `sae` could rank by size, and kept the signs."""
    folder = sparsify(cfg={"signed": True, "activation": None})
    w = load_file(folder / "sae.safetensors")

    p = (x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"]
    top = p.abs().topk(5).indices
    expected = torch.zeros_like(p).scatter(1, top, p.gather(1, top))

    assert (expected < 0).any()
    torch.testing.assert_close(dense(load(folder), x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("skip", [True, False])
def test_a_transcoder_subtracts_nothing_and_may_skip(sparsify: Write, x: Tensor, *, skip: bool) -> None:
    """It reads the module's input as it is and reconstructs the module's output."""
    cfg = {"transcode": True, "skip_connection": skip}
    folder = sparsify("layers.2.mlp", cfg, {"W_skip": random(D_IN, D_IN, seed=5) if skip else None})
    w = load_file(folder / "sae.safetensors")

    coder = load(folder, "layers.2.mlp.input")
    p = torch.relu(x @ w["encoder.weight"].T + w["encoder.bias"])
    expected = torch.zeros_like(p).scatter(1, p.topk(5).indices, p.topk(5).values)
    back = expected @ w["W_dec"] + w["b_dec"] + (x @ w["W_skip"].T if skip else 0)

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-4, atol=1e-4)
    assert "layers.2.mlp" == coder.target
    # A folder that says where it was trained is believed, another one takes the site's word for it.
    assert "layers.2.mlp" == load(folder, "layers.9.mlp.input").target
    assert "layers.9.mlp" == load(folder.rename(folder.parent / "mine"), "layers.9.mlp.input").target


def test_a_skip_alone_reads_the_input_too(sparsify: Write, x: Tensor) -> None:
    """A skip without `transcode` subtracts b_dec, as the library does, and reads the input, as delphi does."""
    folder = sparsify("layers.2.mlp", {"skip_connection": True}, {"W_skip": random(D_IN, D_IN, seed=5)})

    coder = load(folder, "layers.2.mlp.input")

    assert coder.centre.any()
    assert "layers.2.mlp" == coder.target
    assert DeclaredSite("layers.2.mlp.input") == Sparsify(path=str(folder)).declared_site()


@pytest.mark.parametrize(
    ("cfg", "folder", "site", "message"),
    [
        ({"transcode": True}, "layers.2.mlp", "layers.2.mlp", r"write layers\.2\.mlp\.input as"),
        ({"transcode": True}, "layers.2.mlp", "layers.3.mlp", r"write layers\.2\.mlp\.input as"),
        ({"transcode": True}, "mine", "layers.2.mlp:centred", r"write layers\.2\.mlp\.input as"),
        ({}, "layers.2", "layers.2.input", r"layers\.2\.input is not that: write layers\.2 as"),
    ],
)
def test_the_other_side_is_refused(sparsify: Write, cfg: dict, folder: str, site: str, message: str) -> None:
    """Input and output are of one width, so the side that was not trained on is refused, with the one that was."""
    path = sparsify(folder, cfg)
    with pytest.raises(WrongRequest, match=message):
        load(path, site)


@pytest.mark.parametrize("site", ["layers.2", "layers.2.output", "layers.2:centred"])
def test_folder_of_the_site_is_found(sparsify: Write, site: str) -> None:
    """A path that holds a folder per site gives the site's own coder."""
    sparsify("coders/layers.1", {"k": 3})
    folder = sparsify("coders/layers.2", {"k": 7}).parent

    assert 7 == load(folder, site).declared_l0


def test_input_of_a_transcoder_finds_its_folder(sparsify: Write) -> None:
    """The folder is named after the module, whichever side is read."""
    folder = sparsify("coders/layers.2.mlp", {"transcode": True, "k": 7}).parent

    assert 7 == load(folder, "layers.2.mlp.input").declared_l0


@pytest.mark.parametrize(
    ("folder", "cfg", "declared"),
    [
        ("layers.2", {}, "layers.2"),
        ("layers.5.mlp", {"transcode": True}, "layers.5.mlp.input"),
        ("h.0.attn", {}, "h.0.attn"),
        ("embed_tokens", {}, "embed_tokens"),
        ("layers.2/seed1", {}, "layers.2"),
        ("mine", {}, None),
    ],
)
def test_declares_the_site_that_its_folder_is_named_after(
    sparsify: Write, folder: str, cfg: dict, declared: str | None
) -> None:
    """A checkpoint's own folder says where it belongs, and a config may leave the site out."""
    path = sparsify(folder, cfg)

    assert (DeclaredSite(declared) if declared else None) == Sparsify(path=str(path)).declared_site()
    assert 5 == load(path, None, declared).declared_l0


def test_many_sites_declare_none(sparsify: Write) -> None:
    """A path that holds a folder per site says nothing about which of them is meant, and wants a site."""
    folder = sparsify("coders/layers.2").parent

    assert Sparsify(path=str(folder)).declared_site() is None
    with pytest.raises(WrongRequest, match=r"looked for cfg\.json; it holds layers\.2: .*name its site"):
        load(folder, None)


def test_old_config_loads(sparsify: Write) -> None:
    """Configs of the forerunner `sae`, without the newer fields, mean topk of d_in * expansion_factor."""
    newer = {"activation": None, "transcode": None, "skip_connection": None, "multi_topk": None}
    folder = sparsify(cfg=newer | {"signed": False, "num_latents": 0, "expansion_factor": WIDTH // D_IN})

    assert WIDTH == load(folder).width
    assert SAME_SITE == load(folder).target


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(sparsify: Write, dtype: torch.dtype) -> None:
    """Weights stored in half precision are computed with in float32."""
    folder = sparsify()
    file = folder / "sae.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file)

    assert torch.float32 == load(folder).encoder.dtype


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"activation": "batchtopk"}, "activation batchtopk.*use topk or groupmax"),
        ({"activation": "groupmax"}, f"groupmax of {WIDTH} features in 5 groups"),
        ({"activation": "groupmax", "k": 4, "signed": True}, "groupmax of signed"),
        ({"k": WIDTH + 1}, f"{WIDTH + 1} active features of {WIDTH}"),
        ({"k": 0}, "k: Input should be greater than 0"),
        ({"k": None}, "k: Field required"),
        ({"d_in": "wide"}, "d_in"),
        ({"d_in": D_IN + 1}, rf"encoder.weight has shape \[{WIDTH}, {D_IN}\]"),
    ],
)
def test_wrong_config_is_refused(sparsify: Write, cfg: dict, message: str) -> None:
    """What cannot be loaded is refused by the name that its config gives it."""
    with pytest.raises(WrongRequest, match=message):
        load(sparsify(cfg=cfg))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"W_dec": None}, "no tensor W_dec"),
        ({"W_dec": random(D_IN, WIDTH)}, r"W_dec has shape \[16, 64\], where \[64, 16\] is expected"),
        ({"b_dec": torch.full((D_IN,), torch.nan)}, "b_dec holds NaN"),
        ({"encoder.bias": torch.full((WIDTH,), torch.inf)}, "encoder.bias holds NaN or infinity"),
    ],
)
def test_wrong_tensors_are_refused(sparsify: Write, tensors: dict, message: str) -> None:
    """A missing, misshapen or broken tensor is named with its file."""
    with pytest.raises(WrongRequest, match=f"sae.safetensors.*{message}"):
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
    digest = Sparsify(path=str(folder.parent)).digest("layers.2")
    there = Sparsify(path=str(tmp_path / "b"))

    assert digest == there.digest("layers.2")
    config = json.loads((tmp_path / "b/cfg.json").read_text())
    (tmp_path / "b/cfg.json").write_text(json.dumps(config | {"k": 6}))
    assert digest != there.digest("layers.2")


def test_is_found_by_its_configs(sparsify: Write, saelens: Write, tmp_path: Path) -> None:
    """A folder is this format's if its config is, or one of those in it; others' folders and none are not."""
    folder = sparsify("coders/layers.2")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/config.json").write_text(json.dumps({"sae": {"k": 32}, "model": "a/b"}))
    for path in (folder, folder.parent, tmp_path / "hub"):
        assert Sparsify(path=str(path)) == Sparsify.detect(str(path), None)

    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text(json.dumps({"sae": "k", "trainer": {}}))
    for path in (
        saelens(),
        tmp_path / "other",
        tmp_path / "nowhere",
        folder / "cfg.json",
        folder / "sae.safetensors",
    ):
        assert Sparsify.detect(str(path), None) is None


def test_is_found_at_a_url(sparsify: Write, tmp_path: Path) -> None:
    """A checkpoint and a folder of checkpoints are recognised wherever they lie, and loaded from there."""
    sparsify("coders/layers.2", {"k": 7})
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "coders"), "/found/coders", recursive=True)

    source = Sparsify.detect("memory://found/coders", None)
    memory_coder = Sparsify(path="memory://found/coders").load(SITE, HookSite(SITE, D_IN))
    memory.rm("/found", recursive=True)

    assert Sparsify(path="memory://found/coders") == source
    assert 7 == memory_coder.declared_l0
    assert torch.equal(random(WIDTH, D_IN, seed=1), memory_coder.encoder)


def test_a_site_that_the_folder_names_is_part_of_what_it_is(sparsify: Write) -> None:
    """Where the config leaves the site out, the same files under another module's name are another coder."""
    two, three = (Sparsify(path=str(sparsify(folder))).identity(None) for folder in ("layers.2", "layers.3"))

    assert two["digest"] == three["digest"]
    assert two != three
