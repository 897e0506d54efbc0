"""Llama Scope, OpenMOSS' JumpReLU coders for Llama 3.1 8B (He et al. 2024, arXiv:2410.20526), and its successor.

Both as their Language-Model-SAEs (`lm_saes`) saves them. Llama Scope: `hyperparams.json` and
`checkpoints/final.safetensors`, with one threshold for all features. The successor, for DeepSeek-R1-Distill:
`config.json` and `sae_weights.safetensors`, with a threshold per feature and the average norms among the
weights. Loads torch only in `load`.
"""

import re
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, Field

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from tasks.coders.sparse_coder import SparseCoder

_HUB = re.compile(r"(^|/)(Llama3_1-8B-Base-L\d+\w+-\d+x|Llama-Scope-R1-Distill/.+)$")
_LATER_HUB = re.compile(r"(^|/)Llama-Scope-R1-Distill(/|$)")

_NORMS = "dataset_average_activation_norm"


class _Layout(NamedTuple):
    """Names of the files in the folder."""

    config: str
    folder: str
    """The weights' folder in it; empty for the folder itself."""
    weights: str


_FIRST = _Layout("hyperparams.json", "checkpoints", "final.safetensors")
_LATER = _Layout("config.json", "", "sae_weights.safetensors")


class LlamaScopeConfig(BaseModel):
    """The config of either layout; fields that only training used are ignored."""

    d_model: int = Field(gt=0)
    d_sae: int | None = Field(default=None, gt=0)
    expansion_factor: float | None = Field(default=None, gt=0)
    hook_point_in: str
    hook_point_out: str | None = None
    act_fn: str = "jumprelu"
    jump_relu_threshold: float = 0.0
    top_k: int | None = None
    norm_activation: str = "dataset-wise"
    dataset_average_activation_norm: dict[str, float] | None = None
    sparsity_include_decoder_norm: bool = True
    use_decoder_bias: bool = True
    apply_decoder_bias_to_pre_encoder: bool = False
    use_glu_encoder: bool = False

    @property
    def writes(self) -> str:
        """The hook point whose vectors it reconstructs."""
        return self.hook_point_out or self.hook_point_in

    @property
    def itself(self) -> bool:
        """Whether it reconstructs the vectors that it reads."""
        return self.writes == self.hook_point_in


class _Scales(NamedTuple):
    """Factors that give vectors a norm of about the root of d_model."""

    reads: float
    writes: float


class LlamaScope(Checkpoint, frozen=True):
    """A JumpReLU autoencoder or transcoder of Llama Scope."""

    detected_by: ClassVar[str] = (
        "hyperparams.json beside checkpoints/final.safetensors, or a config.json that has hook_point_in beside "
        "sae_weights.safetensors"
    )

    kind: Literal["llama_scope"] = "llama_scope"
    """The format."""
    norm_scaling_factor: float | None = Field(default=None, gt=0)
    """What vectors are multiplied by before they are encoded: the root of their width over their average norm;
    null takes the norms that the checkpoint holds."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the files in the folder, or the repository, have Llama Scope's names."""
        source = cls(path=path, revision=revision)
        if files.hub_folder(path, revision):
            # The Hub is not asked: offline, a missing file and one that is not cached look alike.
            return source if _HUB.search(path.rstrip("/")) else None
        there = files.list_names(path)
        if {_FIRST.config, _FIRST.folder} <= set(there):
            return source
        if not {_LATER.config, _LATER.weights} <= set(there):
            return None
        with files.local_files(path, (_LATER.config,), revision) as local:
            return (
                source if "hook_point_in" in (local / _LATER.config).read_text("utf-8", "replace") else None
            )

    def declared_site(self) -> DeclaredSite | None:
        """The hook point that it reads."""
        return DeclaredSite(self._described(self._layout()).hook_point_in)

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (formats that hold many sites need it)
        """A hash of the checkpoint's contents."""
        layout = self._layout()
        if not layout.folder:
            return files.digest_files(self.path, (layout.config, layout.weights), self.revision)
        config_digest = files.digest_files(self.path, (layout.config,), self.revision)
        return (
            f"{config_digest} {files.digest_files(self._weights(layout), (layout.weights,), self.revision)}"
        )

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder, with the scaling of its vectors folded into its weights."""
        layout = self._layout()
        described = self._described(layout)
        folder = self._weights(layout)
        shown = f"{folder}/{layout.weights}"
        with files.local_files(folder, (layout.weights,), self.revision) as local:
            weights = _read(local / layout.weights, shown, described, later=layout is _LATER)
        return _coder(described, weights, self._scales(described, weights, shown))

    def _scales(self, described: LlamaScopeConfig, weights: "dict[str, Tensor]", shown: str) -> _Scales:
        given = self.norm_scaling_factor
        dataset = described.norm_activation == "dataset-wise"
        if given is not None and not (dataset and described.itself):
            msg = (
                f"{shown} is no autoencoder with one dataset-wise norm, which the source's norm_scaling_factor "
                "stands for: leave it out"
            )
            raise WrongRequest(msg)
        if given is not None or not dataset:
            return _Scales(given or 1.0, given or 1.0)
        stored = {name: float(norm) for name, norm in weights.items() if name.startswith(f"{_NORMS}.")}
        norms = (described.dataset_average_activation_norm or {}) | {
            name.removeprefix(f"{_NORMS}."): norm for name, norm in stored.items()
        }
        reads = norms.get(described.hook_point_in, norms.get("in", 0.0))
        writes = norms.get(described.writes, norms.get("out", reads if described.itself else 0.0))
        if reads <= 0 or writes <= 0:
            msg = (
                f"{shown} and its config hold no {_NORMS}: give the coder's source the norm_scaling_factor that "
                "the checkpoint's card or SAELens' pretrained_saes.yaml lists for it"
            )
            raise WrongRequest(msg)
        root = described.d_model**0.5
        return _Scales(root / reads, root / writes)

    def _layout(self) -> _Layout:
        if files.hub_folder(self.path, self.revision):
            return _LATER if _LATER_HUB.search(self.path) else _FIRST
        there = files.list_names(self.path)
        layout = _LATER if _LATER.weights in there and _FIRST.config not in there else _FIRST
        files.require_files(
            self.path, [name for name in (layout.config, layout.folder or layout.weights) if name]
        )
        return layout

    def _weights(self, layout: _Layout) -> str:
        return f"{self.path.rstrip('/')}/{layout.folder}" if layout.folder else self.path

    def _described(self, layout: _Layout) -> LlamaScopeConfig:
        shown = f"{self.path}/{layout.config}"
        with files.local_files(self.path, (layout.config,), self.revision) as local:
            described = files.validate_config(
                files.read_json_object(local / layout.config, shown), LlamaScopeConfig, shown
            )
        _check(described, shown)
        return described


def _check(described: LlamaScopeConfig, shown: str) -> None:
    norms = {"dataset-wise", "inference"} | ({"token-wise"} if described.itself else set())
    refused = {
        f"act_fn {described.act_fn}": described.act_fn not in {"jumprelu", "relu"},
        f"norm_activation {described.norm_activation}": described.norm_activation not in norms,
        "use_glu_encoder": described.use_glu_encoder,
        "apply_decoder_bias_to_pre_encoder on a transcoder": described.apply_decoder_bias_to_pre_encoder
        and not described.itself,
    }
    for name, wanted in refused.items():
        if wanted:
            msg = f"{shown} asks for {name}, which gloss cannot load: use a JumpReLU coder of Llama Scope"
            raise WrongRequest(msg)


def _read(file: "Path", shown: str, described: LlamaScopeConfig, *, later: bool) -> "dict[str, Tensor]":
    from tasks.coders import tensors  # noqa: PLC0415

    there = tensors.safetensors_shapes(file, shown)
    d = described.d_model
    width = described.d_sae or int(d * (described.expansion_factor or 0))
    if not width:
        tensors.require_shapes(shown, {"encoder.bias": there.get("encoder.bias", ())}, there)
        (width,) = there["encoder.bias"]
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (width, d),
        "encoder.bias": (width,),
        "decoder.weight": (d, width),
    }
    if described.use_decoder_bias:
        shapes["decoder.bias"] = (d,)
    if later and described.act_fn == "jumprelu":
        shapes["log_jumprelu_threshold"] = (width,)
    shapes |= {name: () for name in there if name.startswith(f"{_NORMS}.")}
    bias = f"use_decoder_bias {str(described.use_decoder_bias).lower()}"
    says = f"its {_LATER.config if later else _FIRST.config} says act_fn {described.act_fn} and {bias}"
    return tensors.read_safetensors(file, shown, ExpectedTensors(shapes, says))


def _coder(described: LlamaScopeConfig, weights: "dict[str, Tensor]", scales: _Scales) -> "SparseCoder":
    from tasks.coders.activation_functions import JumpRelu  # noqa: PLC0415
    from tasks.coders.sparse_coder import SAME_SITE, SparseCoder  # noqa: PLC0415  (torch)

    encoder, decoder = weights["encoder.weight"], weights["decoder.weight"].T
    bias = weights.get("decoder.bias", encoder.new_zeros(described.d_model))
    subtracted = described.apply_decoder_bias_to_pre_encoder
    # The first coders kept their 50 largest activations in training, and their threshold was set to pass as many.
    kept = "log_jumprelu_threshold" not in weights and described.act_fn == "jumprelu"
    return SparseCoder(
        encoder=encoder * scales.reads,
        encoder_bias=weights["encoder.bias"],
        centre=bias / scales.reads if subtracted else bias.new_zeros(described.d_model),
        decoder=decoder / scales.writes,
        decoder_bias=bias / scales.writes,
        activation=JumpRelu(_threshold(described, weights, scales)),
        normalisation="constant_norm_rescale" if described.norm_activation == "token-wise" else "none",
        target=SAME_SITE if described.itself else described.writes,
        l0=described.top_k if kept else None,
    )


def _threshold(described: LlamaScopeConfig, weights: "dict[str, Tensor]", scales: _Scales) -> "Tensor":
    """Thresholds of pre-activations, in the units of the scaled vectors as in SAELens."""
    bias = weights["encoder.bias"]
    if described.act_fn == "relu":
        return bias.new_zeros(())
    if "log_jumprelu_threshold" in weights:
        threshold = weights["log_jumprelu_threshold"].exp()
    else:
        # lm_saes compares it after the scales are folded in, so it is in the units of what features write.
        threshold = bias.new_tensor(described.jump_relu_threshold * scales.writes)
    if described.sparsity_include_decoder_norm:
        # The norm of what a feature writes is compared.
        threshold = threshold / weights["decoder.weight"].norm(dim=0)
    return threshold
