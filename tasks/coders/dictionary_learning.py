"""Coders of dictionary_learning: a folder such as `trainer_0` with `config.json` and `ae.pt`.

Its seven classes name their tensors in seven ways. After dictionary-learning 0.1 (dictionary.py, training.py,
trainers/*.py). Loads torch only in `load`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, field_validator

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.coders.activation_functions import ActivationFunction
    from tasks.coders.sparse_coder import SparseCoder

CONFIG = "config.json"
WEIGHTS = "ae.pt"
CHECKPOINTS = "checkpoints"
"""Folder of the weights saved during training."""


class TensorNames(NamedTuple):
    """Names of a class's tensors."""

    encoder: str
    decoder: str
    bias: str
    """Encoder bias, or the gate's."""
    decoder_bias: str
    subtracted: bool
    """Whether the decoder's bias is subtracted from the input."""
    transposed: bool
    """Whether the encoder is stored [d, width] and the decoder [width, d], rather than the other way."""
    rule: Literal["relu", "topk", "threshold", "shared threshold", "gate"]


CLASSES = {
    "AutoEncoder": TensorNames(
        "encoder.weight", "decoder.weight", "encoder.bias", "bias",
        subtracted=True, transposed=False, rule="relu",
    ),
    "AutoEncoderNew": TensorNames(
        "encoder.weight", "decoder.weight", "encoder.bias", "decoder.bias",
        subtracted=False, transposed=False, rule="relu",
    ),
    "GatedAutoEncoder": TensorNames(
        "encoder.weight", "decoder.weight", "gate_bias", "decoder_bias",
        subtracted=True, transposed=False, rule="gate",
    ),
    "JumpReluAutoEncoder": TensorNames(
        "W_enc", "W_dec", "b_enc", "b_dec",
        subtracted=False, transposed=True, rule="threshold",
    ),
    "AutoEncoderTopK": TensorNames(
        "encoder.weight", "decoder.weight", "encoder.bias", "b_dec",
        subtracted=True, transposed=False, rule="topk",
    ),
    "BatchTopKSAE": TensorNames(
        "encoder.weight", "decoder.weight", "encoder.bias", "b_dec",
        subtracted=True, transposed=False, rule="shared threshold",
    ),
    "MatryoshkaBatchTopKSAE": TensorNames(
        "W_enc", "W_dec", "b_enc", "b_dec",
        subtracted=True, transposed=True, rule="shared threshold",
    ),
}  # fmt: skip
"""The library's classes."""

_OF_RULE: dict[str, tuple[str, ...]] = {
    "relu": (),
    "topk": ("k",),
    "threshold": ("threshold",),
    "shared threshold": ("threshold", "k"),
    "gate": ("mag_bias", "r_mag"),
}
"""Tensors of an activation function."""

HARMLESS: dict[str, dict[str, str]] = {
    "AutoEncoderTopK": {
        "threshold": "kept for another way of encoding, which the library does not take by itself"
    },
    "MatryoshkaBatchTopKSAE": {"group_sizes": "which features were trained together"},
}
"""Other tensors of a class, each with the reason why no coder needs it."""

# The library's first spelling.
CLASSES["MatroyshkaBatchTopKSAE"] = CLASSES["MatryoshkaBatchTopKSAE"]
HARMLESS["MatroyshkaBatchTopKSAE"] = HARMLESS["MatryoshkaBatchTopKSAE"]


_BACKUP = {"norm_factor": "by which biases are scaled back"}
"""Tensors beside the coder's that an interrupted training leaves in its file."""


class TrainerConfig(BaseModel):
    """The coder in `config.json`; fields that only training used are ignored."""

    dict_class: str
    activation_dim: int | None = Field(default=None, gt=0)
    dict_size: int | None = Field(default=None, gt=0)
    k: int | None = Field(default=None, gt=0)
    layer: int | str | None = None
    submodule_name: str | None = None
    """`resid_post_layer_3`; the layer's number may be missing."""

    @field_validator("dict_class")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in CLASSES:
            msg = f"gloss cannot load {name}: use one of {', '.join(CLASSES)}"
            raise ValueError(msg)
        return name


class BufferConfig(BaseModel):
    """The vectors of the training in `config.json`."""

    io: str = "out"
    """Which side of the module: `in`, `out`, or `in_and_out` of a transcoder."""


class DictionaryLearningConfig(BaseModel):
    """`config.json`."""

    trainer: TrainerConfig
    buffer: BufferConfig = BufferConfig()


class DictionaryLearning(Checkpoint, frozen=True):
    """A coder of any of the library's classes. Batch top-k fires above the threshold that training kept."""

    detected_by: ClassVar[str] = f"{CONFIG} with trainer.dict_class beside {WEIGHTS}"

    # It hooks transformers' own modules, so its outputs are what the modules give.
    locations: ClassVar[Mapping[str, str]] = {
        "resid_post": "blocks.N.hook_resid_post",
        "attn_out": "blocks.N.attn.hook_out",
        "mlp_out": "blocks.N.mlp.hook_out",
    }

    kind: Literal["dictionary_learning"] = "dictionary_learning"
    """The format."""
    step: int | None = Field(default=None, ge=0)
    """The training step whose `checkpoints/ae_STEP.pt` is taken; null takes `ae.pt`, the last one."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the folder's config names a class as the library does."""
        trainer = files.peek_json(path, CONFIG, revision).get("trainer")
        known = isinstance(trainer, dict) and "dict_class" in trainer
        return cls(path=path, revision=revision) if known else None

    def declared_site(self) -> DeclaredSite | None:
        """The site that the trainer names; null where it names none, or the buffer has another side of the module."""
        config = self._config()
        name, layer = config.trainer.submodule_name, config.trainer.layer
        if not name or config.buffer.io != "out":
            return None
        counted = isinstance(layer, int) and not any(letter.isdigit() for letter in name)
        return DeclaredSite(f"{name}_layer_{layer}" if counted else name)

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (a folder holds one coder)
        """A hash of config and weights."""
        self._require_config()
        folder, name = self._weights()
        if self.step is None:
            return files.digest_files(self.path, (CONFIG, WEIGHTS), self.revision)
        mine = files.digest_files(self.path, (CONFIG,), self.revision)
        # A commit is of all files in the repository.
        remote = files.hub_folder(self.path, self.revision)
        return f"{mine} {name if remote else files.digest_files(folder, (name,))}"

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder."""
        config = self._config()
        folder, name = self._weights()
        with files.local_files(folder, (name,), self.revision) as local:
            return _coder(config, local / name, f"{folder}/{name}", f"{self.path}/{CONFIG}")

    def _weights(self) -> tuple[str, str]:
        """The folder and the name of the weights."""
        if self.step is None:
            return self.path, WEIGHTS
        return f"{self.path.rstrip('/')}/{CHECKPOINTS}", f"ae_{self.step}.pt"

    def _require_config(self) -> None:
        if not files.has_file(self.path, CONFIG, self.revision):
            there = [] if files.hub_folder(self.path, self.revision) else files.list_names(self.path)
            holds = f": it holds {files.shortened(there)}" if there else ""
            msg = f"{self.path} has no {CONFIG}{holds}: name the folder of one trainer, such as trainer_0"
            raise WrongRequest(msg)

    def _config(self) -> DictionaryLearningConfig:
        self._require_config()
        shown = f"{self.path}/{CONFIG}"
        with files.local_files(self.path, (CONFIG,), self.revision) as folder:
            return files.validate_config(
                files.read_json_object(folder / CONFIG, shown), DictionaryLearningConfig, shown
            )


def _coder(config: DictionaryLearningConfig, file: Path, shown: str, shown_config: str) -> "SparseCoder":
    from tasks.coders.sparse_coder import SAME_SITE, SparseCoder  # noqa: PLC0415  (torch, as in all of these)

    names = CLASSES[config.trainer.dict_class]
    weights = _tensors(config.trainer, names, file, shown, shown_config)
    encoder, decoder = weights[names.encoder], weights[names.decoder]
    encoder, decoder = (encoder.T, decoder) if names.transposed else (encoder, decoder.T)
    bias, centre = weights[names.bias], weights[names.decoder_bias]
    if config.trainer.dict_class == "AutoEncoder":
        encoder, bias, decoder = _of_unit_decoder(encoder, bias, decoder)
    k = _k(config.trainer, weights, shown, shown_config)
    return SparseCoder(
        encoder=encoder,
        encoder_bias=bias,
        centre=centre if names.subtracted else centre.new_zeros(centre.shape),
        decoder=decoder,
        decoder_bias=centre,
        activation=_rule(names, weights, k, shown),
        # Where a transcoder writes, the config does not say.
        target=None if config.buffer.io == "in_and_out" else SAME_SITE,
        l0=k if names.rule == "shared threshold" else None,
    )


def _remedies(stored: Iterable[str], dict_class: str) -> dict[str, str]:
    """Remedies for tensors that the class does not have: name the classes that have them."""
    remedies = {}
    for name in stored:
        others = [
            other for other, names in CLASSES.items() if name in names[:4] or name in _OF_RULE[names.rule]
        ]
        if others and dict_class not in others:
            remedies[name] = f"correct dict_class, {' and '.join(dict.fromkeys(others))} have it"
    return remedies


def _tensors(
    trainer: TrainerConfig, names: TensorNames, file: Path, shown: str, shown_config: str
) -> dict[str, "Tensor"]:
    """The tensors of the class, checked; biases in the model's units."""
    from tasks.coders import tensors  # noqa: PLC0415

    content = tensors.load_torch_file(file, shown)
    inner, scale = content.get("ae"), 1.0
    if isinstance(inner, dict):
        # A file of an interrupted training: only final weights have their biases scaled back from vectors that
        # were divided by the factor.
        factor = content.get("norm_factor")
        ExpectedTensors({}, "what it holds beside `ae` is no part of a coder", _BACKUP).refuse_others(
            shown, tensors.tensor_shapes(content)
        )
        content, scale = inner, 1.0 if factor is None else _number(factor, shown)
    stored = tensors.tensor_shapes(content)
    width = trainer.dict_size or next(iter(stored.get(names.bias, ())), 0)
    d = trainer.activation_dim or next(iter(stored.get(names.decoder_bias, ())), 0)
    biases: dict[str, tuple[int, ...]] = {names.bias: (width,), names.decoder_bias: (d,)}
    others: dict[str, tuple[int, ...]] = {}
    match names.rule:
        case "gate":
            biases["mag_bias"], others["r_mag"] = (width,), (width,)
        case "threshold":
            biases["threshold"] = (width,)
        case "shared threshold":
            biases["threshold"] = ()
        case _:
            pass
    if names.rule in {"topk", "shared threshold"} and "k" in stored:
        others["k"] = ()
    rows, columns = ((d, width), (width, d)) if names.transposed else ((width, d), (d, width))
    expected = ExpectedTensors(
        biases | others | {names.encoder: rows, names.decoder: columns},
        f"{shown_config} says dict_class {trainer.dict_class}",
        HARMLESS.get(trainer.dict_class, {}),
        _remedies(tensors.tensor_shapes(content), trainer.dict_class),
    )
    weights = tensors.checked_tensors(content, shown, expected)
    return weights if scale == 1 else weights | {name: weights[name] * scale for name in biases}


def _number(factor: object, shown: str) -> float:
    """A factor that the library stores as a number or as a tensor of one element."""
    from torch import Tensor  # noqa: PLC0415

    if isinstance(factor, (int, float)) or (isinstance(factor, Tensor) and factor.numel() == 1):
        return float(factor)
    msg = f"{shown}: norm_factor is no number: use the weights that the training saved at its end"
    raise WrongRequest(msg)


def _of_unit_decoder(
    encoder: "Tensor", bias: "Tensor", decoder: "Tensor"
) -> tuple["Tensor", "Tensor", "Tensor"]:
    """The same coder with decoder rows of norm one, as the library makes it when it loads an AutoEncoder."""
    import torch  # noqa: PLC0415

    norm = decoder.norm(dim=1)
    if torch.allclose(norm, torch.ones_like(norm)):
        return encoder, bias, decoder
    return encoder * norm[:, None], bias * norm, decoder / torch.where(norm > 0, norm, 1)[:, None]


def _rule(
    names: TensorNames, weights: dict[str, "Tensor"], k: int | None, shown: str
) -> "ActivationFunction":
    import torch  # noqa: PLC0415

    from tasks.coders.activation_functions import Gated, JumpRelu, TopK  # noqa: PLC0415

    if names.rule == "gate":
        # The library's magnitude is exp(r_mag) * e + mag_bias, where its gate opens for e + gate_bias.
        scale = weights["r_mag"].exp()
        return Gated(scale, weights["mag_bias"] - scale * weights["gate_bias"])
    if names.rule == "topk" and k:
        return TopK(k)
    if names.rule == "topk":
        msg = f"{shown} has no k above zero, and its config has none: use another checkpoint"
        raise WrongRequest(msg)
    threshold = weights.get("threshold", torch.zeros(()))
    if names.rule == "shared threshold" and threshold < 0:
        # The library would let every positive pre-activation fire, unlike in training.
        msg = f"{shown}: threshold is below zero, so training had not set it yet: use a later checkpoint"
        raise WrongRequest(msg)
    return JumpRelu(threshold)


def _k(trainer: TrainerConfig, weights: dict[str, "Tensor"], shown: str, shown_config: str) -> int | None:
    """How many features fire on a token, where the class trains for a number."""
    stored = int(weights["k"]) if "k" in weights else None
    if stored and trainer.k and stored != trainer.k:
        msg = f"{shown_config} has k {trainer.k}, where {shown} has {stored}: they are not of one training"
        raise WrongRequest(msg)
    return stored or trainer.k
