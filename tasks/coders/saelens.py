"""Checkpoints of SAELens, `cfg.json` and `sae_weights.safetensors`: version 6 and the flat configs before it.

First what `cfg.json` says and what of it gloss can load, then the weights. Loads torch only in `load`. After
sae_lens 6.54 (saes/*.py, loading/pretrained_sae_loaders.py).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, Field, field_validator

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import TRAINING_STATISTICS, Checkpoint, DeclaredSite, ExpectedTensors, HookSite

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from tasks.coders.activation_functions import ActivationFunction
    from tasks.coders.sparse_coder import Normalisation, SparseCoder

    Weights = dict[str, Tensor]

PURSUIT = "matching_pursuit"

AUTOENCODERS = ("standard", "gated", "topk", "abstopk", "jumprelu", PURSUIT)
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")

UNSUPPORTED_ARCHITECTURES = {
    "temporal": "it reads the tokens before as well, and gloss encodes each token by itself",
    "batchtopk": "it is a checkpoint of a training: save it with SAELens' save_inference_model",
    "matryoshka_batchtopk": "it is a checkpoint of a training: save it with SAELens' save_inference_model",
}
"""Architectures that gloss cannot load, each with the reason."""

BY_TOKEN = ("none", "layer_norm", "constant_norm_rescale")
SCALED = "expected_average_only_in"
WHITENED = "covariance_whitening"

RESHAPES = ("none", "hook_z")


class SAELensMetadata(BaseModel):
    """What `cfg.json` records of the training, as far as loading needs it."""

    hook_name: str | None = None
    hook_name_out: str | None = None
    hook_head_index: int | None = None
    hf_hook_name: str | None = None
    """The same site as a module of transformers."""
    hf_hook_name_out: str | None = None
    model_from_pretrained_kwargs: dict[str, object] | None = None
    l0: float | None = None
    """Features that fired on a token at the end of the training, on average."""


class SAELensConfig(BaseModel):
    """`cfg.json` of version 6; fields that only training used are ignored."""

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
    metadata: SAELensMetadata = SAELensMetadata()

    @field_validator("normalize_activations", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Old configs have a boolean, or nothing."""
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


def parse_saelens_config(raw: dict[str, object], shown: str) -> SAELensConfig:
    """A checkpoint's config in version 6's terms; `shown` is the file as the user knows it.

    Raises `WrongRequest` with the reason for a config that gloss cannot load.
    """
    config = files.validate_config(_modern(raw, shown), SAELensConfig, shown)
    _refuse_architecture(config, shown)
    if config.reshape_activations not in RESHAPES:
        msg = (
            f"{shown} has reshape_activations {config.reshape_activations}, which gloss does not know: "
            f"use one of {', '.join(RESHAPES)}"
        )
        raise WrongRequest(msg)
    if config.metadata.hook_head_index is not None:
        msg = (
            f"{shown} has hook_head_index {config.metadata.hook_head_index}: it reads one attention head, and "
            "gloss reads all of a site: use a coder of all heads"
        )
        raise WrongRequest(msg)
    return config


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


def _refuse_architecture(config: SAELensConfig, shown: str) -> None:
    known = AUTOENCODERS + TRANSCODERS
    if config.architecture not in known:
        why = UNSUPPORTED_ARCHITECTURES.get(config.architecture, f"use one of {', '.join(known)}")
        msg = f"{shown} has the architecture {config.architecture}, which gloss cannot load: {why}"
        raise WrongRequest(msg)
    if config.architecture in {"topk", "abstopk"} and not (config.k and 0 < config.k <= config.d_sae):
        msg = f"{shown} is {config.architecture} with k {config.k}: k must be between 1 and {config.d_sae}"
        raise WrongRequest(msg)
    if config.rescale_acts_by_decoder_norm and config.architecture not in {"topk", "abstopk"}:
        msg = (
            f"{shown} has rescale_acts_by_decoder_norm on a {config.architecture} coder: "
            "fold the norms into the weights with SAELens and save again"
        )
        raise WrongRequest(msg)
    if config.transcodes and config.d_out is None:
        msg = f"{shown} is a {config.architecture} without d_out: say how wide the vectors are that it writes"
        raise WrongRequest(msg)
    if config.transcodes and config.apply_b_dec_to_input:
        msg = (
            f"{shown} is a {config.architecture} with apply_b_dec_to_input, and b_dec belongs to what it "
            "writes: set it to false, as SAELens does"
        )
        raise WrongRequest(msg)


CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"

FACTORS = ("scaling_factor", "finetuning_scaling_factor")
"""Tensors that a fine-tuning before version 6 multiplied activations by before they were decoded."""


class SAELens(Checkpoint, frozen=True):
    """A sparse coder saved by SAELens.

    Its architecture is standard (ReLU), gated, topk, abstopk, jumprelu (which batchtopk is saved as),
    matching_pursuit, or a transcoder with or without jumprelu and skip.
    """

    detected_by: ClassVar[str] = f"{CONFIG} with d_sae beside {WEIGHTS}"

    kind: Literal["saelens"] = "saelens"
    """The format."""
    norm_factor: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What vectors were multiplied by in a training with normalize_activations expected_average_only_in, which
    a checkpoint does not hold. Folded into the weights. 1 takes the vectors as they are, as SAELens does."""
    fold_decoder_norm: bool = False
    """Multiplies each feature's activations by the length of its decoder row, as SAEDashboard and Neuronpedia
    show them. Reconstructions stay the same."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the folder's config has SAELens' keys of the sizes."""
        config = files.peek_json(path, CONFIG, revision)
        return cls(path=path, revision=revision) if {"d_in", "d_sae"} <= config.keys() else None

    def declared_site(self) -> DeclaredSite | None:
        """The site that it reads: transformers' name of it if there is one, or TransformerLens'."""
        with files.local_files(self.path, (CONFIG,), self.revision) as folder:
            metadata = self._description(folder).metadata
        site = metadata.hf_hook_name or metadata.hook_name
        centred = (metadata.model_from_pretrained_kwargs or {}).get("center_writing_weights") is True
        return DeclaredSite(site, centred) if site else None

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (formats that hold many sites need it)
        """A hash of the checkpoint's contents."""
        return files.digest_files(self.path, (CONFIG, WEIGHTS), self.revision)

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder, its weights mapped from the file as far as nothing is folded into them."""
        from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)

        shown = f"{self.path}/{WEIGHTS}"
        with files.local_files(self.path, (CONFIG, WEIGHTS), self.revision) as folder:
            config = self._description(folder)
            self._check(config)
            stored = tensors.safetensors_shapes(folder / WEIGHTS, shown)
            factors = {name: (config.d_sae,) for name in FACTORS if name in stored}
            weights = tensors.read_safetensors(
                folder / WEIGHTS, shown, self._expected(config, stored.keys(), factors)
            )
        return _coder(config, self._folded(config, weights), self.norm_factor or 1.0)

    def _description(self, folder: "Path") -> SAELensConfig:
        shown = f"{self.path}/{CONFIG}"
        return parse_saelens_config(files.read_json_object(folder / CONFIG, shown), shown)

    def _expected(
        self, config: SAELensConfig, stored: Iterable[str], factors: dict[str, tuple[int, ...]]
    ) -> ExpectedTensors:
        """The tensors of the architecture. Where the file has those of another architecture, an error names it."""
        shapes = config.shapes() | factors
        fitting = config.architectures_of(set(stored) - factors.keys() - TRAINING_STATISTICS.keys())
        remedy = f"correct architecture to {' or '.join(fitting)}"
        others = set(stored) - shapes.keys() if fitting else set()
        return ExpectedTensors(
            shapes,
            f"{self.path}/{CONFIG} says architecture {config.architecture}",
            # SAELens itself loads a file only if it holds the architecture's tensors and no others.
            remedies=dict.fromkeys(others, remedy),
        )

    def _check(self, config: SAELensConfig) -> None:
        """Refuse a normalisation without its numbers, and options that do not apply to the coder."""
        shown, kind = f"{self.path}/{CONFIG}", config.normalize_activations
        if kind == WHITENED:
            msg = (
                f"{shown} has normalize_activations {kind}, whose matrices lie elsewhere: fold them into "
                "the weights with SAELens' fold_activation_whitening and save again"
            )
        elif kind == SCALED and self.norm_factor is None:
            msg = (
                f"{shown} has normalize_activations {kind}, whose factor the checkpoint does not hold: give it "
                "as the source's norm_factor (the scaling_factor in activation_scaler.json of its training, the "
                "norm_scaling_factor in SAELens' list of releases, or 1 if it is in the weights already)"
            )
        elif kind not in (*BY_TOKEN, SCALED):
            known = ", ".join((*BY_TOKEN, SCALED))
            msg = f"{shown} has normalize_activations {kind}, which gloss does not know: use one of {known}"
        elif kind != SCALED and self.norm_factor is not None:
            msg = f"{shown} has normalize_activations {kind}, which takes no factor: leave norm_factor out"
        elif self.fold_decoder_norm and config.ranks and not config.rescale_acts_by_decoder_norm:
            msg = (
                f"{shown} is a {config.architecture} coder, whose features compete at the scale that it was trained "
                "at: leave fold_decoder_norm out"
            )
        else:
            return
        raise WrongRequest(msg)

    def _folded(self, config: SAELensConfig, weights: "Weights") -> "Weights":
        """The weights with scaling factors and norms folded into them."""
        weights = _unfactored(config, weights, f"{self.path}/{WEIGHTS}")
        if self.norm_factor is not None:
            weights = _scaled(weights, self.norm_factor)
        # A topk that ranks by the norm of what features write is equivalent to folding the norms once.
        if config.rescale_acts_by_decoder_norm or self.fold_decoder_norm:
            weights = _at_norm(weights)
        return weights


def _unfactored(config: SAELensConfig, weights: "Weights", shown: str) -> "Weights":
    """Weights without the factors of a fine-tuning, which are part of the decoder's rows from here on."""
    import torch  # noqa: PLC0415

    factors = [weights[name] for name in FACTORS if name in weights]
    weights = {name: weight for name, weight in weights.items() if name not in FACTORS}
    # For some time every checkpoint had a factor, of ones.
    if not factors or torch.allclose(factors[0], torch.ones(())):
        return weights
    if not config.finetuning_scaling_factor:
        msg = (
            f"{shown} has a scaling_factor, and its {CONFIG} does not say finetuning_scaling_factor, as SAELens "
            "wants it: fold it into W_dec and save again"
        )
        raise WrongRequest(msg)
    return weights | {"W_dec": weights["W_dec"] * factors[0][:, None]}


def _scaled(weights: "Weights", factor: float) -> "Weights":
    """Weights that read vectors as they are, where they were trained on vectors times a factor."""
    biases = {"b_dec": weights["b_dec"] / factor}
    # Of a tied coder the activations shrink instead, as the vectors that they add up to do.
    tied = "W_enc" not in weights
    rows = {} if tied else {"W_enc": weights["W_enc"] * factor, "W_dec": weights["W_dec"] / factor}
    return weights | biases | rows


def _at_norm(weights: "Weights") -> "Weights":
    """Weights whose activations are as long as what they write, and whose decoder rows have length one."""
    import torch  # noqa: PLC0415

    norm = weights["W_dec"].norm(dim=1)
    # A threshold or a gate moves along with what it is compared with.
    by_feature = {
        name: weights[name] * norm for name in ("b_enc", "b_gate", "b_mag", "threshold") if name in weights
    }
    rows = {
        "W_enc": weights["W_enc"] * norm,
        "W_dec": weights["W_dec"] / torch.where(norm > 0, norm, 1)[:, None],
    }
    return weights | by_feature | rows


def _coder(config: SAELensConfig, weights: "Weights", factor: float) -> "SparseCoder":
    """The coder of folded weights; `factor` is what was folded into them, 1 where nothing was."""
    from tasks.coders.sparse_coder import SAME_SITE, SparseCoder, Transcoder  # noqa: PLC0415

    bias, l0 = weights["b_dec"], config.metadata.l0
    target = config.metadata.hf_hook_name_out or config.metadata.hook_name_out
    normalisation = "none" if config.normalize_activations == SCALED else config.normalize_activations
    coder = (Transcoder if config.transcodes else SparseCoder)(
        encoder=weights["W_dec"] if config.architecture == PURSUIT else weights["W_enc"].T,
        encoder_bias=weights.get("b_gate", weights.get("b_enc", bias.new_zeros(config.d_sae))),
        centre=bias if config.subtracts else bias.new_zeros(config.d_in),
        decoder=weights["W_dec"],
        decoder_bias=bias,
        activation=_activation(config, weights),
        normalisation=cast("Normalisation", normalisation),
        skip=weights.get("W_skip"),
        target=target if config.transcodes else SAME_SITE,
        l0=l0 if l0 and l0 > 0 else None,
    )
    return _pursuit(config, coder, factor) if config.architecture == PURSUIT else coder


def _pursuit(config: SAELensConfig, tied: "SparseCoder", factor: float) -> "SparseCoder":
    from tasks.coders.sparse_coder import MatchingPursuit  # noqa: PLC0415

    # What was never subtracted is not added either.
    fields: dict[str, Any] = {**vars(tied), "decoder_bias": tied.centre}
    return MatchingPursuit(
        **fields,
        steps=config.max_iterations or config.d_in,
        small=config.residual_threshold / factor,
        ends_on_repeat=config.stop_on_duplicate_support,
    )


def _activation(config: SAELensConfig, weights: "Weights") -> "ActivationFunction":
    from tasks.coders.activation_functions import AbsTopK, Gated, JumpRelu, TopK  # noqa: PLC0415

    match config.architecture:
        case "topk":
            return TopK(config.k or 0)
        case "abstopk":
            return AbsTopK(config.k or 0)
        case "gated":
            # The magnitude is the gate's product, scaled, with a bias of its own in place of the gate's.
            scale = weights["r_mag"].exp()
            return Gated(scale, weights["b_mag"] - scale * weights["b_gate"])
        case _:
            return JumpRelu(weights.get("threshold", weights["b_dec"].new_zeros(())))
