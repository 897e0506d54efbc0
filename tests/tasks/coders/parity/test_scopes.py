"""Released suites of coders load to what SAELens makes of the same files, under the names that it lists."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tasks.coders import tensors
from tasks.coders.base import Checkpoint
from tasks.coders.gemma_scope import GemmaScope
from tasks.coders.gemma_scope_2 import GemmaScope2
from tasks.coders.goodfire import Goodfire
from tasks.coders.llama_scope import LlamaScope
from tasks.coders.qwen_scope import QwenScope
from tests.tasks.coders import (
    test_gemma_scope,
    test_gemma_scope_2,
    test_goodfire,
    test_llama_scope,
    test_qwen_scope,
)
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random
from tests.tasks.coders.formula import PLACE, dense

SIZES = {"d_in": D_IN, "d_sae": WIDTH}


def unit(decoder: Tensor) -> Tensor:
    """Columns of length 1, as the released decoders have them: SAELens leaves their lengths out of the threshold."""
    return decoder / decoder.norm(dim=0)


class Case(NamedTuple):
    """A checkpoint as SAELens lists it."""

    release: str
    sae: str
    loader: str
    """Name of SAELens' loader, without what it ends with."""
    format_: type[Checkpoint]
    write: Callable[[Path, str, float], object]
    """Writes it into a folder, for the factor that SAELens lists for vectors."""
    options: Callable[[float], dict[str, Any]] = lambda _: {}
    replaced: dict[str, Any] = SIZES
    """What the loader would take from the released model."""


def _llama(folder: Path, path: str, factor: float) -> None:
    norm = D_IN**0.5 / factor
    test_llama_scope.first(
        folder / path,
        {"dataset_average_activation_norm": {"in": norm, "out": norm}},
        decoder__weight=unit(random(D_IN, WIDTH, seed=3)),
    )


CASES = [
    Case(
        "gemma-scope-2b-pt-res", "layer_20/width_16k/average_l0_71", "gemma_2_sae", GemmaScope,
        lambda folder, path, _: test_gemma_scope.write(folder, path),
    ),
    Case(
        "gemma-scope-2b-pt-att", "layer_25/width_65k/average_l0_63", "gemma_2_sae", GemmaScope,
        lambda folder, path, _: test_gemma_scope.write(folder, path, lower=True),
    ),
    Case(
        # SAELens scales what features write, and leaves the bias.
        "gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6", "gemma_2_sae", GemmaScope,
        lambda folder, path, _: test_gemma_scope.write(folder, path, b_dec=torch.zeros(D_IN)),
    ),
    Case(
        "gemma-scope-2b-pt-transcoders", "layer_25/width_16k/average_l0_41", "gemma_2_transcoder", GemmaScope,
        lambda folder, path, _: test_gemma_scope.write(folder, path), replaced=SIZES | {"d_out": D_IN},
    ),
    Case(
        "gemma-scope-2-1b-pt-res", "layer_22_width_16k_l0_medium", "gemma_3_sae", GemmaScope2,
        lambda folder, path, _: test_gemma_scope_2.write(folder, path, cfg=test_gemma_scope_2.config()),
    ),
    Case(
        "gemma-scope-2-1b-pt-transcoders-all", "layer_5_width_16k_l0_big_affine", "gemma_3_sae", GemmaScope2,
        lambda folder, path, _: test_gemma_scope_2.write(
            folder, path, cfg=test_gemma_scope_2.config(type="transcoder", affine_connection=True),
            affine_skip_connection=random(D_IN, D_IN, seed=6),
        ),
    ),
    Case(
        "qwen-scope-3-8b-base-w64k-l50", "layer7", "qwen_scope_sae", QwenScope,
        lambda folder, path, _: test_qwen_scope.write(folder, path.rpartition("/")[0]),
    ),
    Case(
        "goodfire-llama-3.1-8b-instruct", "layer_19", "get_goodfire", Goodfire,
        lambda folder, path, _: test_goodfire.write((folder / path).parent, Path(path).name),
    ),
    Case(
        "deepseek-r1-distill-llama-8b-qresearch", "blocks.19.hook_resid_post", "deepseek_r1_sae", Goodfire,
        lambda folder, path, _: test_goodfire.write((folder / path).parent, Path(path).name, ""),
    ),
    Case("llama_scope_lxr_8x", "l8r_8x", "llama_scope_sae", LlamaScope, _llama),
    Case(
        "llama_scope_r1_distill", "l15r_400m_slimpajama_400m_openr1_math", "llama_scope_r1_distill_sae", LlamaScope,
        lambda folder, path, _: test_llama_scope.later(
            folder / path, decoder__weight=unit(random(D_IN, WIDTH, seed=3))
        ),
        lambda factor: {"norm_scaling_factor": factor},
    ),
]  # fmt: skip


def library(module: str) -> ModuleType:
    """A module of SAELens; skips the test where it is not installed."""
    pytest.importorskip("sae_lens", exc_type=ImportError)
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(f"sae_lens.{module}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.release}-{case.sae}")
def test_encodes_and_decodes_as_saelens_does(
    tmp_path: Path, x: Tensor, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    """From the name that a user of SAELens knows to activations and reconstructions."""
    loaders, directory = (
        library("loading.pretrained_sae_loaders"),
        library("loading.pretrained_saes_directory"),
    )
    listed = directory.get_pretrained_saes_directory()[case.release]
    path = f"{listed.repo_id}/{listed.saes_map[case.sae]}"
    factor = directory.get_norm_scaling_factor(case.release, case.sae) or 1.0
    case.write(tmp_path, path, factor)

    def local(repo_id: str, filename: str, subfolder: str = "", **_: object) -> str:
        return str(tmp_path / repo_id / subfolder / filename)

    def shapes(repo_id: str, filename: str) -> dict[str, tuple[int, ...]]:
        return tensors.safetensors_shapes(tmp_path / repo_id / filename, filename)

    def converter(cfg_overrides: dict, **options: Any) -> object:
        known = getattr(loaders, f"{case.loader}_huggingface_loader")
        return known(cfg_overrides=cfg_overrides | case.replaced, **options)

    monkeypatch.setattr(loaders, "hf_hub_download", local)
    monkeypatch.setattr(loaders, "get_safetensors_tensor_shapes", shapes)
    with warnings.catch_warnings(action="ignore"):
        known, _, _ = library("saes.sae").SAE.from_pretrained_with_cfg_and_sparsity(
            case.release, case.sae, converter=converter
        )
    source = case.format_.model_validate({"path": f"{tmp_path}/{path}", **case.options(factor)})
    coder = source.load(None, PLACE)
    assert source == case.format_.detect(source.path, None) or case.options(factor)

    # Of what attention heads give, SAELens wants to know the heads.
    given = x.unflatten(1, (4, -1)) if case.release.endswith("att") else x
    acts = known.encode(given)
    assert 0 < acts.count_nonzero() < acts.numel()
    torch.testing.assert_close(dense(coder, x), acts, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        coder.reconstruct(x, coder.encode(x)), known(given).flatten(1), rtol=1e-4, atol=1e-4
    )
