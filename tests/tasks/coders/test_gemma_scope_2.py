"""Gemma Scope 2's coders load to its formula, with their config or without it; crosscoders are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.gemma_scope_2 import GemmaScope2
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random
from tests.tasks.coders.formula import PLACE, close, dense, jump, rebuilt
from tests.tasks.coders.layouts import LAYOUTS, lay

REPO = "google/gemma-scope-2-1b-pt"
RES = f"{REPO}/resid_post/layer_22_width_16k_l0_medium"
TRANSCODER = f"{REPO}/transcoder_all/layer_5_width_16k_l0_big_affine"
CLT = f"{REPO}/clt/width_262k_l0_medium_affine"
IN, OUT = (
    "model.layers.5.pre_feedforward_layernorm.output",
    "model.layers.5.post_feedforward_layernorm.output",
)
LAYERS = 4
_SKIP = "affine_skip_connection"


def config(**changed: object) -> dict[str, object]:
    """A config as the release has them; null removes a field."""
    fields = {
        "hf_hook_point_in": "model.layers.22.output", "hf_hook_point_out": "model.layers.22.output",
        "width": WIDTH, "model_name": "gemma-v3-1b-pt", "architecture": "jump_relu", "l0": 60,
        "affine_connection": False, "type": "sae",
    } | changed  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def write(
    folder: Path,
    path: str = RES,
    file: str = "params.safetensors",
    cfg: dict | None = None,
    **changed: Tensor | None,
) -> Path:
    """A checkpoint at its path in a copy of the repository; no config if null."""
    there = folder / path
    there.mkdir(parents=True, exist_ok=True)
    tensors = {
        "w_enc": random(D_IN, WIDTH, seed=1),
        "w_dec": random(WIDTH, D_IN, seed=2),
        "b_enc": random(WIDTH, seed=3),
        "b_dec": random(D_IN, seed=4),
        "threshold": random(WIDTH, seed=5).abs(),
    } | changed
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, there / file)
    if cfg is not None:
        (there / "config.json").write_text(json.dumps(cfg))
    return there


def load(folder: Path, site: str | None = None, **options: object) -> SparseCoder:
    """The coder of a folder."""
    return GemmaScope2.model_validate({"path": str(folder), **options}).load(site, PLACE)


def site(folder: Path | str, **options: object) -> str | None:
    """The site that a folder declares."""
    declared = GemmaScope2.model_validate({"path": str(folder), **options}).declared_site()
    return declared.site if declared else None


def test_encodes_by_the_formula(tmp_path: Path, x: Tensor) -> None:
    """x w_enc + b_enc where above the threshold; b_dec is added and never subtracted."""
    folder = write(tmp_path, cfg=config())
    w = load_file(folder / "params.safetensors")
    coder = load(folder)

    expected = jump(x @ w["w_enc"] + w["b_enc"], w["threshold"])
    close(dense(coder, x), expected)
    close(rebuilt(coder, x), expected @ w["w_dec"] + w["b_dec"])
    assert ("model.layers.22.output", SAME_SITE, 60) == (site(folder), coder.target, coder.declared_l0)
    assert site(folder) == site(folder / "params.safetensors")


def test_an_affine_transcoder_adds_its_map_of_the_input(tmp_path: Path, x: Tensor) -> None:
    """y = acts w_dec + b_dec + x A, with A as [d_in, d_out]; the target is the other hook point."""
    cfg = config(type="transcoder", affine_connection=True, hf_hook_point_in=IN, hf_hook_point_out=OUT)
    d_out = 8
    folder = write(
        tmp_path, TRANSCODER, cfg=cfg, affine_skip_connection=random(D_IN, d_out, seed=6),
        w_dec=random(WIDTH, d_out, seed=2), b_dec=random(d_out, seed=4),
    )  # fmt: skip
    w = load_file(folder / "params.safetensors")
    coder = load(folder)

    expected = jump(x @ w["w_enc"] + w["b_enc"], w["threshold"]) @ w["w_dec"] + w["b_dec"]
    close(rebuilt(coder, x), expected + x @ w["affine_skip_connection"])
    assert (IN, OUT, (d_out, D_IN)) == (
        site(folder),
        coder.target,
        coder.skip.shape if coder.skip is not None else 0,
    )


@pytest.mark.parametrize(
    ("path", "reads", "target"),
    [
        (RES, "model.layers.22.output", SAME_SITE),
        (f"{REPO}/resid_post_all/layer_0_width_16k_l0_small", "model.layers.0.output", SAME_SITE),
        (
            f"{REPO}/attn_out_all/layer_11_width_1m_l0_big",
            "model.layers.11.self_attn.o_proj.input",
            SAME_SITE,
        ),
        (f"{REPO}/mlp_out/layer_5_width_16k_l0_big", OUT, SAME_SITE),
        (TRANSCODER, IN, OUT),
        (f"{REPO}/transcoder/layer_5_width_16k_l0_big", IN, OUT),
    ],
)
def test_without_a_config_the_folders_say_it(tmp_path: Path, path: str, reads: str, target: str) -> None:
    """The first says what is read, the second the layer; nothing says how many features fire."""
    folder = write(tmp_path, path)
    coder = load(folder)
    assert (reads, target, None) == (site(folder), coder.target, coder.declared_l0)


def test_a_config_needs_no_folder_names(tmp_path: Path) -> None:
    """A copy under another name says the same; without a config it says nothing, and still loads."""
    folder = write(
        tmp_path, "mine", cfg=config(type="transcoder", hf_hook_point_in=IN, hf_hook_point_out=OUT)
    )
    assert (IN, OUT) == (site(folder), load(folder).target)
    assert site(write(tmp_path, "other")) is None
    assert WIDTH == load(tmp_path / "other").width


@pytest.mark.parametrize("options", [{"layer": 2}, {}])
@pytest.mark.parametrize("path", [CLT, "mine"])
def test_a_layer_of_a_cross_layer_transcoder(tmp_path: Path, x: Tensor, path: str, options: dict) -> None:
    """Its features are those of one file; each writes to several layers, of which the sum is kept."""
    folder = tmp_path / path
    for layer in range(LAYERS):
        decoder = random(WIDTH, LAYERS, D_IN, seed=layer)
        decoder[:, :layer] = 0
        write(tmp_path, path, f"params_layer_{layer}.safetensors", config(l0=200), w_dec=decoder)
    w = load_file(folder / "params_layer_2.safetensors")
    coder = load(folder, None if options else "layers.2.pre_feedforward_layernorm", **options)

    expected = jump(x @ w["w_enc"] + w["b_enc"], w["threshold"])
    close(dense(coder, x), expected)
    close(coder.decode(coder.encode(x), len(x)), expected @ w["w_dec"].sum(1) + w["b_dec"])
    # Its L0 counts the firings of all layers, and no one site is what it reconstructs.
    assert (None, None) == (coder.target, coder.declared_l0)
    assert "model.layers.2.pre_feedforward_layernorm.output" == site(folder, layer=2)
    # A path that names the file says which layer it is, whatever else is said.
    assert site(folder, layer=1) == site(folder / "params_layer_1.safetensors", layer=3)


def test_a_cross_layer_transcoder_needs_a_layer(tmp_path: Path) -> None:
    """Of 26 files none is the obvious one, and one that is not there is named."""
    folder = write(tmp_path, CLT, "params_layer_0.safetensors")
    assert site(folder) is None
    with pytest.raises(
        WrongRequest, match=r"affine is a cross-layer transcoder.*give the coder's source a layer"
    ):
        load(folder)
    with pytest.raises(WrongRequest, match=r"has no params_layer_7.safetensors: it holds params_layer_0"):
        load(folder, layer=7)
    # So are a crosscoder's files called; without a config, the shapes say that it is one.
    with pytest.raises(WrongRequest, match=r"w_dec has shape \[64, 16\], where \[width, layers, d_out\]"):
        load(folder, layer=0)


@pytest.mark.parametrize(
    ("path", "cfg"),
    [
        (f"{REPO}/crosscoder/layer_7_13_17_22_width_262k_l0_medium", None),
        ("mine", config(type="crosscoder")),
        ("mine", config(hf_hook_point_in=["model.layers.7.output", "model.layers.13.output"])),
    ],
)
def test_crosscoders_are_refused(tmp_path: Path, path: str, cfg: dict | None) -> None:
    """Their features read several sites at once, and the refusal says so."""
    with pytest.raises(
        WrongRequest, match=r"(reads? several sites|names 2 hook points).*features of one site"
    ):
        load(write(tmp_path, path, cfg=cfg))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """Weights stored in half precision are computed with in float32."""
    assert torch.float32 == load(write(tmp_path, w_enc=random(D_IN, WIDTH).to(dtype))).encoder.dtype


def test_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is known by its files, a repository by its name, without asking the Hub."""
    monkeypatch.setattr(files.HubFolder, "file", lambda *_: pytest.fail("the Hub was asked"))
    folder = write(tmp_path, cfg=config())
    clt = write(tmp_path, CLT, "params_layer_0.safetensors")
    for path in (str(folder), f"{folder}/params.safetensors", str(clt), RES, CLT):
        assert GemmaScope2(path=path) == GemmaScope2.detect(path, None)
    for path in ("google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71", "owner/name", REPO):
        assert GemmaScope2.detect(path, None) is None


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if not name.startswith("gemma_scope_2")])
def test_others_are_not_claimed(tmp_path: Path, layout: str) -> None:
    """A folder of another format is left to it."""
    assert GemmaScope2.detect(str(lay(tmp_path, layout)), None) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"w_enc": None}, " has no tensor w_enc"),
        ({"threshold": None}, " has no tensor threshold"),
        ({"w_dec": random(D_IN, WIDTH)}, r": w_dec has shape \[16, 64\], where \[64, 64\] is expected"),
        ({"w_dec": random(WIDTH)}, r": w_dec has shape \[64\], where \[width, d_out\] is expected"),
        (
            {_SKIP: random(D_IN, 3)},
            r": affine_skip_connection has shape \[16, 3\], where \[16, 16\] is expected",
        ),
        ({"b_enc": torch.full((WIDTH,), torch.nan)}, ": b_enc holds NaN"),
    ],
)
def test_broken_weights_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    """A missing, misshapen or broken tensor is named with its file."""
    with pytest.raises(WrongRequest, match=rf"l0_medium/params\.safetensors{message}[^\n]*$"):
        load(write(tmp_path, cfg=config(affine_connection=_SKIP in changed), **changed))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    """A config that is none, one of another architecture, a file cut short, and no file at all."""
    folder = write(tmp_path, cfg=config(architecture="topk"))
    with pytest.raises(WrongRequest, match=r"config.json has the architecture topk: gloss loads jump_relu"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WrongRequest, match=r"config.json is not JSON"):
        load(folder)
    (folder / "config.json").unlink()
    file = folder / "params.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WrongRequest, match=r"params.safetensors is not a whole safetensors file"):
        load(folder)
    file.unlink()
    with pytest.raises(WrongRequest, match=r"looked for params.safetensors"):
        load(folder)


def test_the_digest_is_of_config_and_weights(tmp_path: Path) -> None:
    """Equal files have equal digests wherever they lie; another config or other weights have another."""
    same = {GemmaScope2(path=str(write(tmp_path / name, cfg=config()))).digest(None) for name in "ab"}
    other = {
        GemmaScope2(path=str(write(tmp_path / "c", cfg=config(l0=9)))).digest(None),
        GemmaScope2(path=str(write(tmp_path / "d", cfg=config(), b_dec=random(D_IN, seed=9)))).digest(None),
        GemmaScope2(path=str(write(tmp_path / "e"))).digest(None),
    }
    assert (1, 3, 4) == (len(same), len(other), len(same | other))
