"""Gemma Scope's coders load to its formula, from names alone; broken ones are refused by file and array."""

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.gemma_scope import GemmaScope
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random
from tests.tasks.coders.formula import PLACE, close, dense, jump, rebuilt
from tests.tasks.coders.layouts import LAYOUTS, lay

RES = "google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"


def weights(**changed: object) -> dict[str, Any]:
    """Arrays as the release has them; null removes one."""
    arrays = {
        "W_enc": random(D_IN, WIDTH, seed=1),
        "W_dec": random(WIDTH, D_IN, seed=2),
        "b_enc": random(WIDTH, seed=3),
        "b_dec": random(D_IN, seed=4),
        "threshold": random(WIDTH, seed=5).abs(),
    } | changed
    return {name: np.asarray(array) for name, array in arrays.items() if array is not None}


def write(folder: Path, path: str = RES, *, lower: bool = False, **changed: object) -> Path:
    """A checkpoint at its path in a copy of the repository."""
    there = folder / path
    there.mkdir(parents=True)
    arrays: dict[str, Any] = {
        name.lower() if lower else name: array for name, array in weights(**changed).items()
    }
    np.savez(there / "params.npz", **arrays)
    return there


def load(folder: Path, **options: object) -> SparseCoder:
    """The coder of a folder."""
    return GemmaScope.model_validate({"path": str(folder), **options}).load(None, PLACE)


@pytest.mark.parametrize("lower", [True, False])
def test_encodes_by_the_formula(tmp_path: Path, x: Tensor, *, lower: bool) -> None:
    """x W_enc + b_enc where above the threshold; b_dec is added and never subtracted; old keys are in lower case."""
    w = {name: torch.from_numpy(array) for name, array in weights().items()}
    coder = load(write(tmp_path, lower=lower))

    expected = jump(x @ w["W_enc"] + w["b_enc"], w["threshold"])
    assert 0 < expected.count_nonzero() < expected.numel() / 2
    close(dense(coder, x), expected)
    close(rebuilt(coder, x), expected @ w["W_dec"] + w["b_dec"])
    assert (SAME_SITE, 71.0, WIDTH) == (coder.target, coder.declared_l0, coder.width)


def test_weights_are_mapped(tmp_path: Path) -> None:
    """The encoder is the file's own array, seen the other way round."""
    assert (1, WIDTH) == load(write(tmp_path)).encoder.stride()


@pytest.mark.parametrize(
    ("path", "site", "target", "l0"),
    [
        (RES, "model.layers.20.output", SAME_SITE, 71),
        (RES.replace("res", "mlp"), "model.layers.20.post_feedforward_layernorm.output", SAME_SITE, 71),
        (RES.replace("res", "att"), "model.layers.20.self_attn.o_proj.input", SAME_SITE, 71),
        ("google/gemma-scope-9b-it-res/layer_9/width_1m/average_l0_9", "model.layers.9.output", SAME_SITE, 9),
        (
            RES.replace("res", "transcoders"),
            "layers.20.pre_feedforward_layernorm:normalised",
            "model.layers.20.post_feedforward_layernorm.output",
            71,
        ),
        (
            "google/gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6",
            "model.embed_tokens.output",
            SAME_SITE,
            6,
        ),
    ],
)
def test_the_path_says_site_target_and_l0(
    tmp_path: Path, path: str, site: str, target: str, l0: float
) -> None:
    """Repository and folder name them, there is no config."""
    folder = write(tmp_path, path)
    declared = GemmaScope(path=str(folder)).declared_site()
    coder = load(folder)
    assert declared is not None
    assert (site, target, l0) == (declared.site, coder.target, coder.l0)
    assert declared == GemmaScope(path=f"{folder}/params.npz").declared_site()


def test_embeddings_are_scaled_as_the_model_scales_them(tmp_path: Path, x: Tensor) -> None:
    """A coder of the embedding matrix's rows gives on the model's embeddings, sqrt(d) times those, the same."""
    w = {name: torch.from_numpy(array) for name, array in weights().items()}
    coder = load(write(tmp_path, "google/gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6"))

    expected = jump(x @ w["W_enc"] + w["b_enc"], w["threshold"])
    close(dense(coder, x * D_IN**0.5), expected)
    close(rebuilt(coder, x * D_IN**0.5), (expected @ w["W_dec"] + w["b_dec"]) * D_IN**0.5)


def test_options_say_what_the_path_does_not(tmp_path: Path) -> None:
    """A copy under another name needs its kind; its layer is needed for nothing but the names."""
    folder = write(tmp_path, "mine")
    assert GemmaScope(path=str(folder)).declared_site() is None
    with pytest.raises(
        WrongRequest, match=r"mine/params.npz does not say what it reads: .* a site_kind, one of res"
    ):
        load(folder)
    assert load(folder, site_kind="transcoder").target is None
    known = GemmaScope(path=str(folder), site_kind="transcoder", layer=3)
    declared = known.declared_site()
    assert declared is not None
    assert "layers.3.pre_feedforward_layernorm:normalised" == declared.site
    assert known.load(None, PLACE).target == "model.layers.3.post_feedforward_layernorm.output"


def test_weights_outlive_the_copy_of_a_url(tmp_path: Path, x: Tensor) -> None:
    """What is mapped from a file stays when the file that was fetched is gone."""
    folder = write(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), f"/bucket/{RES}", recursive=True)
    try:
        for path in (f"memory://bucket/{RES}", f"memory://bucket/{RES}/params.npz"):
            assert GemmaScope(path=path) == GemmaScope.detect(path, None)
            coder = GemmaScope(path=path).load(None, PLACE)
            assert torch.equal(dense(load(folder), x), dense(coder, x))
            assert GemmaScope(path=path).digest(None) == GemmaScope(path=str(folder)).digest(None)
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("dtype", [np.float16, np.dtype(">f4"), np.float64])
def test_other_types_are_read_as_float32(tmp_path: Path, dtype: np.dtype) -> None:
    """Whatever the type and byte order of the file."""
    folder = write(tmp_path, **{name: array.astype(dtype) for name, array in weights().items()})
    coder = load(folder)
    assert torch.float32 == coder.encoder.dtype
    assert torch.equal(torch.from_numpy(weights()["W_enc"].astype(dtype).astype("f4")).T, coder.encoder)


@pytest.mark.parametrize(
    "path",
    [
        "google/gemma-scope-2b-pt-res/layer_20/width_16k/canonical",
        "google/gemma-scope-2b-pt-res/layer_20/width_16k/canonical/params.npz",
        "gemma-scope-2b-pt-res-canonical/layer_20/width_16k/canonical",
    ],
)
def test_canonical_folders_are_refused(path: str) -> None:
    """They were deleted: the refusal says what to name instead, and asks no Hub for it."""
    for ask in (GemmaScope(path=path).declared_site, lambda: GemmaScope.detect(path, None)):
        with pytest.raises(WrongRequest, match=r"canonical.*: .*deleted: name the folder with the L0"):
            ask()


def test_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or folder is known by its name, a repository by its, without asking the Hub for 19 GB."""
    monkeypatch.setattr(files.HubFolder, "file", lambda *_: pytest.fail("the Hub was asked"))
    folder = write(tmp_path)
    for path in (str(folder), f"{folder}/params.npz", RES, f"{RES}/params.npz"):
        assert GemmaScope(path=path) == GemmaScope.detect(path, None)
    for path in (
        "google/gemma-scope-2-1b-pt/resid_post/layer_1_width_16k_l0_big",
        "owner/name",
        f"{folder}/x.npz",
    ):
        assert GemmaScope.detect(path, None) is None


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "gemma_scope"])
def test_others_are_not_claimed(tmp_path: Path, layout: str) -> None:
    """A folder of another format is left to it."""
    assert GemmaScope.detect(str(lay(tmp_path, layout)), None) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"W_enc": None}, " has no tensor W_enc: it holds W_dec, b_dec, b_enc, threshold"),
        ({"W_dec": None}, " has no tensor W_dec"),
        ({"threshold": None}, " has no tensor threshold"),
        ({"W_enc": random(D_IN)}, r": W_enc has shape \[16\], where a matrix is expected"),
        ({"W_dec": random(D_IN, WIDTH)}, r": W_dec has shape \[16, 64\], where \[64, 64\] is expected"),
        ({"b_dec": random(WIDTH)}, r": b_dec has shape \[64\], where \[16\] is expected"),
        ({"b_enc": torch.full((WIDTH,), torch.nan)}, ": b_enc holds NaN"),
        ({"W_enc": np.array([[{}]])}, ": W_enc holds pickled Python objects"),
        ({"scaling_factor": torch.full((WIDTH,), 2.0)}, " has a fine-tuned scaling_factor"),
    ],
)
def test_broken_checkpoints_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    """A missing, misshapen, broken or pickled array is named with its file."""
    with pytest.raises(WrongRequest, match=rf"average_l0_71/params\.npz{message}[^\n]*$"):
        load(write(tmp_path, **changed))


def test_a_scaling_factor_of_ones_says_nothing(tmp_path: Path) -> None:
    """Some files have one that was never tuned."""
    assert WIDTH == load(write(tmp_path, scaling_factor=torch.ones(WIDTH))).width


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """A file cut short is refused by name."""
    file = write(tmp_path) / "params.npz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WrongRequest, match=r"params.npz is not a whole npz file"):
        load(file)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    """A folder without the file is refused with what it holds."""
    (tmp_path / "other.txt").touch()
    with pytest.raises(WrongRequest, match=r"has no params.npz: it holds other.txt"):
        load(tmp_path, site_kind="res")


def test_the_digest_is_of_the_contents(tmp_path: Path) -> None:
    """Equal files have equal digests wherever they lie, and a changed one another."""
    item, same = write(tmp_path / "a"), write(tmp_path / "b")
    other = write(tmp_path / "c", b_dec=random(D_IN, seed=9))
    first, second, third = (GemmaScope(path=str(folder)).digest(None) for folder in (item, same, other))
    assert first == second != third


def test_what_the_path_decides_is_part_of_what_it_is(tmp_path: Path) -> None:
    """The same file read as an embedding's coder is folded, and so another one; in another place it is the same."""
    residual = GemmaScope(path=str(write(tmp_path))).identity("layers.2")
    moved = GemmaScope(path=str(write(tmp_path / "elsewhere"))).identity("layers.2")
    embedding = GemmaScope(path=str(write(tmp_path / "third")), site_kind="embedding").identity("layers.2")

    assert residual == moved
    assert residual != embedding
