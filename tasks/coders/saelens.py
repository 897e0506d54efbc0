"""Checkpoints of SAELens: `cfg.json` and `sae_weights.safetensors`, of version 6 or the flat one before.

Loads torch only in `load`.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.errors import WrongRequest
from tasks.coders import config, files

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from tasks.coders.dictionary import Activation, SparseCoder

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"

ARCHITECTURES = ("standard", "topk", "jumprelu")
NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")
RESHAPES = ("none", "hook_z")


class Checkpoint(BaseModel):
    """What `cfg.json` says in version 6; what only training used is ignored."""

    d_in: int = Field(gt=0)
    d_sae: int = Field(gt=0)
    architecture: str
    k: int | None = None
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    rescale_acts_by_decoder_norm: bool = False


class SAELens(BaseModel):
    """A sparse autoencoder saved by SAELens: standard (ReLU), topk or jumprelu."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["saelens"] = "saelens"
    """The format."""
    path: str
    """Folder of the checkpoint: local, a URL such as s3://bucket/folder, or on the Hub
    `owner/name[/folder]`."""
    revision: str | None = None
    """Branch, tag or commit of a Hub repository; null takes its main branch."""

    def digest(self, site: str) -> str:  # noqa: ARG002  (formats that hold many sites need it)
        """A hash of the checkpoint's contents."""
        return files.digest(self.path, (CONFIG, WEIGHTS), self.revision)

    def load(self, site: str, device: str) -> "SparseCoder":  # noqa: ARG002
        """The coder, on a device."""
        shown = f"{self.path}/{CONFIG}"
        with files.bring(self.path, (CONFIG, WEIGHTS), self.revision) as folder:
            raw = config.read(folder / CONFIG, shown)
            checkpoint = config.check(_modern(raw, shown), Checkpoint, shown)
            _check(checkpoint, shown)
            return _coder(checkpoint, folder / WEIGHTS, f"{self.path}/{WEIGHTS}", device)


def _modern(raw: dict[str, object], shown: str) -> dict[str, object]:
    """The config in version 6's terms; before it, fields had other names and other defaults."""
    if isinstance(raw.get("metadata"), dict):
        return raw
    hook = str(raw.get("hook_name", raw.get("hook_point", "")))
    function = raw.get("activation_fn", raw.get("activation_fn_str", "relu")) or "relu"
    options = raw.get("activation_fn_kwargs") or {}
    architecture = raw.get("architecture") or "standard"
    normalise = raw.get("normalize_activations") or "none"
    modern = raw | {
        "architecture": architecture,
        "reshape_activations": raw.get("reshape_activations", "hook_z" if "hook_z" in hook else "none"),
        "normalize_activations": "expected_average_only_in" if normalise is True else normalise,
    }
    if architecture == "standard" and function == "topk":
        k = options.get("k") if isinstance(options, dict) else None
        return modern | {"architecture": "topk", "k": k}
    if architecture == "standard" and function != "relu":
        msg = f"{shown} asks for activation_fn {function}: gloss loads relu and topk"
        raise WrongRequest(msg)
    return modern


def _check(checkpoint: Checkpoint, shown: str) -> None:
    if checkpoint.architecture not in ARCHITECTURES:
        msg = (
            f"{shown} has the architecture {checkpoint.architecture}, which gloss cannot load: "
            f"use one of {', '.join(ARCHITECTURES)}"
        )
        raise WrongRequest(msg)
    if checkpoint.normalize_activations not in NORMALISATIONS:
        msg = (
            f"{shown} has normalize_activations {checkpoint.normalize_activations}, whose scale the "
            "checkpoint does not hold: fold it into the weights with SAELens and save again"
        )
        raise WrongRequest(msg)
    if checkpoint.reshape_activations not in RESHAPES:
        msg = (
            f"{shown} has reshape_activations {checkpoint.reshape_activations}, which gloss does not "
            f"know: use one of {', '.join(RESHAPES)}"
        )
        raise WrongRequest(msg)
    topk = checkpoint.architecture == "topk"
    if topk and not (checkpoint.k and 0 < checkpoint.k <= checkpoint.d_sae):
        msg = f"{shown} is topk with k {checkpoint.k}: k must be between 1 and {checkpoint.d_sae}"
        raise WrongRequest(msg)
    if checkpoint.rescale_acts_by_decoder_norm and not topk:
        msg = (
            f"{shown} has rescale_acts_by_decoder_norm on a {checkpoint.architecture} coder: "
            "fold the norms into the weights with SAELens and save again"
        )
        raise WrongRequest(msg)


def _coder(checkpoint: Checkpoint, file: "Path", shown: str, device: str) -> "SparseCoder":
    import torch  # noqa: PLC0415  (torch, which the config must not cost)

    from tasks.coders import tensors  # noqa: PLC0415
    from tasks.coders.dictionary import SparseCoder  # noqa: PLC0415

    width, d_in = checkpoint.d_sae, checkpoint.d_in
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, width),
        "b_enc": (width,),
        "W_dec": (width, d_in),
        "b_dec": (d_in,),
    }
    if checkpoint.architecture == "jumprelu":
        shapes["threshold"] = (width,)
    if "scaling_factor" in tensors.stored(file, shown):
        shapes["scaling_factor"] = (width,)
    weights = tensors.read(file, shown, shapes, device)
    if "scaling_factor" in weights and not (weights["scaling_factor"] == 1).all():
        msg = f"{shown} has a fine-tuned scaling_factor: fold it into W_dec with SAELens and save again"
        raise WrongRequest(msg)
    encoder, bias, decoder = weights["W_enc"].T.contiguous(), weights["b_enc"], weights["W_dec"]
    if checkpoint.rescale_acts_by_decoder_norm:
        # Ranking by p * norm and decoding by acts / norm is the same as this once and for all.
        norm = decoder.norm(dim=1)
        encoder, bias = encoder * norm[:, None], bias * norm
        decoder = decoder / torch.where(norm > 0, norm, 1)[:, None]
    return SparseCoder(
        encoder=encoder,
        encoder_bias=bias,
        centre=weights["b_dec"] * checkpoint.apply_b_dec_to_input,
        decoder=decoder,
        decoder_bias=weights["b_dec"],
        activation=_activation(checkpoint, weights),
        normalisation=checkpoint.normalize_activations,  # pyright: ignore[reportArgumentType]  (checked)
    )


def _activation(checkpoint: Checkpoint, weights: dict[str, "Tensor"]) -> "Activation":
    from tasks.coders.dictionary import JumpRelu, TopK  # noqa: PLC0415

    match checkpoint.architecture:
        case "topk":
            return TopK(checkpoint.k or 0)
        case "jumprelu":
            return JumpRelu(weights["threshold"])
        case _:
            return JumpRelu(weights["b_enc"].new_zeros(()))
