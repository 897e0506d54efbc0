"""What SAELens writes into `cfg.json`, in version 6 and in the flat one before, and what of it gloss can load.

Knows no weights: loads no torch. After sae_lens 6.54 (saes/*.py, loading/pretrained_sae_loaders.py).
"""

from collections.abc import Iterable

from pydantic import BaseModel, Field, field_validator

from storage.errors import WrongRequest
from tasks.coders import config

PURSUIT = "matching_pursuit"

AUTOENCODERS = ("standard", "gated", "topk", "abstopk", "jumprelu", PURSUIT)
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")

REFUSED = {
    "temporal": "it reads the tokens before as well, and gloss encodes each token by itself",
    "batchtopk": "it is a checkpoint of a training: save it with SAELens' save_inference_model",
    "matryoshka_batchtopk": "it is a checkpoint of a training: save it with SAELens' save_inference_model",
}
"""Architectures that cannot be loaded, and why."""

BY_TOKEN = ("none", "layer_norm", "constant_norm_rescale")
SCALED = "expected_average_only_in"
WHITENED = "covariance_whitening"

RESHAPES = ("none", "hook_z")


class Metadata(BaseModel):
    """What a checkpoint says about its training, as far as loading needs it."""

    hook_name: str | None = None
    hook_name_out: str | None = None
    hook_head_index: int | None = None
    hf_hook_name: str | None = None
    """The same site as a module of transformers."""
    hf_hook_name_out: str | None = None
    model_from_pretrained_kwargs: dict[str, object] | None = None
    l0: float | None = None
    """What fired on a token at the end of the training, on average."""


class Description(BaseModel):
    """What `cfg.json` says in version 6; what only training used is ignored."""

    architecture: str
    d_in: int = Field(gt=0)
    d_sae: int = Field(gt=0)
    d_out: int | None = Field(default=None, gt=0)
    """Of transcoders."""
    apply_b_dec_to_input: bool | None = None
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    k: int | None = None
    rescale_acts_by_decoder_norm: bool = False
    residual_threshold: float = 1e-2
    max_iterations: int | None = Field(default=None, gt=0)
    stop_on_duplicate_support: bool = True
    finetuning_scaling_factor: bool = False
    metadata: Metadata = Metadata()

    @field_validator("normalize_activations", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Old configs have yes or no, or nothing."""
        if isinstance(value, bool):
            return SCALED if value else "none"
        return "none" if value is None else value

    @property
    def transcodes(self) -> bool:
        """Whether it writes to another site than it reads."""
        return self.architecture in TRANSCODERS

    @property
    def subtracts(self) -> bool:
        """Whether `b_dec` is subtracted from the input."""
        return not self.transcodes and self.apply_b_dec_to_input is not False

    @property
    def ranks(self) -> bool:
        """Whether features compete, so that their scale decides which of them fire."""
        return self.architecture in {"topk", "abstopk", PURSUIT}

    def architectures_of(self, names: Iterable[str]) -> list[str]:
        """The architectures of the same kind that have tensors of these names, and no others."""
        kind = TRANSCODERS if self.transcodes else AUTOENCODERS
        others = [self.model_copy(update={"architecture": other}) for other in kind]
        return [other.architecture for other in others if other.shapes().keys() == set(names)]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that the architecture has, by name."""
        width, d_out = self.d_sae, (self.d_out if self.transcodes and self.d_out else self.d_in)
        shapes: dict[str, tuple[int, ...]] = {"W_dec": (width, d_out), "b_dec": (d_out,)}
        if self.architecture == PURSUIT:
            return shapes
        biases = ("b_gate", "b_mag", "r_mag") if self.architecture == "gated" else ("b_enc",)
        if "jumprelu" in self.architecture:
            biases = (*biases, "threshold")
        if "skip" in self.architecture:
            shapes["W_skip"] = (d_out, self.d_in)
        return shapes | {"W_enc": (self.d_in, width)} | dict.fromkeys(biases, (width,))


def read(raw: dict[str, object], shown: str) -> Description:
    """The config's description of its coder; `shown` is the file as the user knows it.

    Raises `WrongRequest` for one that gloss cannot load, with the reason.
    """
    found = config.check(_modern(raw, shown), Description, shown)
    _refuse_architecture(found, shown)
    if found.reshape_activations not in RESHAPES:
        msg = (
            f"{shown} has reshape_activations {found.reshape_activations}, which gloss does not know: "
            f"use one of {', '.join(RESHAPES)}"
        )
        raise WrongRequest(msg)
    if found.metadata.hook_head_index is not None:
        msg = (
            f"{shown} has hook_head_index {found.metadata.hook_head_index}: it reads one attention head, and "
            "gloss reads all of a site: use a coder of all heads"
        )
        raise WrongRequest(msg)
    return found


def _modern(raw: dict[str, object], shown: str) -> dict[str, object]:
    """The config in version 6's terms; before it, fields had other names and other defaults."""
    if isinstance(raw.get("metadata"), dict):
        return raw
    hook = raw.get("hook_name", raw.get("hook_point"))
    function = raw.get("activation_fn", raw.get("activation_fn_str")) or "relu"
    options = raw.get("activation_fn_kwargs")
    k = options.get("k") if isinstance(options, dict) else None
    if function not in {"relu", "topk"}:
        msg = f"{shown} asks for activation_fn {function}: gloss loads relu and topk"
        raise WrongRequest(msg)
    return raw | {
        "architecture": "topk" if function == "topk" else raw.get("architecture") or "standard",
        "k": raw.get("k") if k is None else k,
        "reshape_activations": raw.get("reshape_activations", "hook_z" if "hook_z" in str(hook) else "none"),
        "metadata": {
            "hook_name": hook,
            "hook_head_index": raw.get("hook_head_index", raw.get("hook_point_head_index")),
            "model_from_pretrained_kwargs": raw.get("model_from_pretrained_kwargs"),
        },
    }


def _refuse_architecture(found: Description, shown: str) -> None:
    known = AUTOENCODERS + TRANSCODERS
    if found.architecture not in known:
        why = REFUSED.get(found.architecture, f"use one of {', '.join(known)}")
        msg = f"{shown} has the architecture {found.architecture}, which gloss cannot load: {why}"
        raise WrongRequest(msg)
    if found.architecture in {"topk", "abstopk"} and not (found.k and 0 < found.k <= found.d_sae):
        msg = f"{shown} is {found.architecture} with k {found.k}: k must be between 1 and {found.d_sae}"
        raise WrongRequest(msg)
    if found.rescale_acts_by_decoder_norm and found.architecture not in {"topk", "abstopk"}:
        msg = (
            f"{shown} has rescale_acts_by_decoder_norm on a {found.architecture} coder: "
            "fold the norms into the weights with SAELens and save again"
        )
        raise WrongRequest(msg)
    if found.transcodes and found.d_out is None:
        msg = f"{shown} is a {found.architecture} without d_out: say how wide the vectors are that it writes"
        raise WrongRequest(msg)
    if found.transcodes and found.apply_b_dec_to_input:
        msg = (
            f"{shown} is a {found.architecture} with apply_b_dec_to_input, and b_dec belongs to what it "
            "writes: set it to false, as SAELens does"
        )
        raise WrongRequest(msg)
