"""Transcoders of circuit-tracer: sets with one per layer (PLT), and cross-layer transcoders (CLT).

A folder holds `config.yaml`, and for layer 5 of a set `layer_5.safetensors`, of a cross-layer transcoder
`W_enc_5.safetensors` and `W_dec_5.safetensors`; a set's config may list files elsewhere instead. Sets
trained for Qwen 3 have `wandb-config.yaml` beside it, or in its place. After circuit-tracer 0.5
(transcoder/*.py, utils/hf_utils.py). Loads torch only in `load`.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self, get_args
from urllib.parse import parse_qs, urlsplit

import yaml
from pydantic import BaseModel, Field

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.coders.activation_functions import ActivationFunction
    from tasks.coders.sparse_coder import SparseCoder

CONFIG = "config.yaml"
WANDB_CONFIGS = ("wandb-config.yaml", "wanb-config.yaml")
"""Files of Weights & Biases about the training; some repositories misspell the name."""

QWEN_3 = {
    "model_kind": "transcoder_set",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "hook_mlp_out",
}
"""Defaults of a set with a `wandb-config.yaml`, where no config overrides them."""

Kind = Literal["transcoder_set", "cross_layer_transcoder"]


class CircuitTracerConfig(BaseModel):
    """`config.yaml`; hooks lack the `blocks.5.` before them."""

    model_kind: Kind
    feature_input_hook: str
    feature_output_hook: str
    transcoders: list[str] | None = None
    activation: str | None = None
    k: int | None = Field(default=None, gt=0)


class WandbNumber(BaseModel):
    """A number as Weights & Biases writes it."""

    value: int = Field(gt=0)


class WandbConfig(BaseModel):
    """The sizes in `wandb-config.yaml`."""

    d_model: WandbNumber
    d_feature: WandbNumber


class FolderConfigs(NamedTuple):
    """The configs of a folder."""

    hooks: CircuitTracerConfig
    training: WandbConfig | None
    names: tuple[str, ...]
    """Names of the files, at least one."""
    shown: str
    """The first of them as the user knows it."""


def read_folder_configs(path: str, revision: str | None) -> FolderConfigs:
    """The configs of a folder. Raises `WrongRequest` for one that is missing, no YAML or not circuit-tracer's."""
    config, training = _content(path, CONFIG, revision), None
    names = [] if config is None else [CONFIG]
    # Requested only if needed: the Hub's cache cannot tell that there is no such file.
    for name in WANDB_CONFIGS if config is None or not config.keys() >= QWEN_3.keys() else ():
        sizes = _content(path, name, revision)
        if sizes is not None:
            training = files.validate_config(sizes, WandbConfig, f"{path}/{name}")
            config = QWEN_3 | (config or {})
            names.append(name)
            break
    if config is None:
        # Raises that the file is missing.
        with files.local_files(path, (CONFIG,), revision):
            config = {}
    shown = f"{path}/{(names or [CONFIG])[0]}"
    return FolderConfigs(
        files.validate_config(config, CircuitTracerConfig, shown), training, tuple(names), shown
    )


def has_circuit_tracer_config(path: str, revision: str | None) -> bool:
    """Whether a folder has a config with the keys of circuit-tracer's, or of its trainings'."""
    if _peek(path, CONFIG, revision).get("model_kind") in get_args(Kind):
        return True
    return any(
        _peek(path, name, revision).keys() >= WandbConfig.model_fields.keys() for name in WANDB_CONFIGS
    )


def _peek(path: str, name: str, revision: str | None) -> dict[str, object]:
    """The keys of a config; empty where there is none, or a file of another kind."""
    if not files.has_file(path, name, revision):
        return {}
    try:
        return _content(path, name, revision) or {}
    except (WrongRequest, OSError):
        return {}


def _content(path: str, name: str, revision: str | None) -> dict[str, object] | None:
    """The keys of a config; null where there is none of this name."""
    if not files.has_file(path, name, revision):
        return None
    with files.local_files(path, (name,), revision) as folder:
        return _yaml(folder / name, f"{path}/{name}")


def _yaml(file: Path, shown: str) -> dict[str, object]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        msg = f"{shown} is not YAML ({reason}): fetch the checkpoint again"
        raise WrongRequest(msg) from error
    if not isinstance(content, dict):
        msg = f"{shown} holds no keys: fetch the checkpoint again"
        raise WrongRequest(msg)
    return content


_THRESHOLD = "activation_function.threshold"
_NUMBER = re.compile(r"(?<=\.)\d+(?=[.:]|$)")


class LayerFiles(NamedTuple):
    """The files with a layer's weights."""

    folder: str
    names: tuple[str, ...]
    revision: str | None


class CircuitTracer(Checkpoint, frozen=True):
    """One layer of a transcoder set, or the features of one layer of a cross-layer transcoder.

    A cross-layer feature's decoder row is the sum of its rows for each layer, its total effect on the residual
    stream; no single site can be compared with that.
    """

    detected_by: ClassVar[str] = (
        f"{CONFIG} with model_kind transcoder_set or cross_layer_transcoder, or {WANDB_CONFIGS[0]} with d_feature"
    )

    kind: Literal["circuit_tracer"] = "circuit_tracer"
    """The format."""
    layer: int | None = Field(default=None, ge=0)
    """Layer of the set; null takes the number in the site's name."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if a config in the folder has the keys of circuit-tracer's or its trainings'."""
        fits = has_circuit_tracer_config(path, revision)
        return cls(path=path, revision=revision) if fits else None

    def declared_site(self) -> DeclaredSite | None:
        """The layer's input hook; null where no layer is chosen."""
        if self.layer is None:
            return None
        hooks = read_folder_configs(self.path, self.revision).hooks
        return DeclaredSite(f"blocks.{self.layer}.{hooks.feature_input_hook}")

    def digest(self, site: str | None) -> str:
        """A hash of the configs and of the layer's weights."""
        configs = read_folder_configs(self.path, self.revision)
        where = self._weights(configs, self._layer(site))
        if where.folder == self.path:
            # The config comes first: on the Hub it is fetched to learn the commit, which weights should not be.
            contents = files.digest_files(self.path, (*configs.names, *where.names), self.revision)
        else:
            mine = files.digest_files(self.path, configs.names, self.revision)
            contents = f"{mine} {files.digest_files(where.folder, where.names, where.revision)}"
        # A commit is the same for every layer.
        return f"{contents} {where.names[0]}"

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The transcoder of the layer that is chosen, or that the site's name has."""
        configs = read_folder_configs(self.path, self.revision)
        layer = self._layer(site)
        where = self._weights(configs, layer)
        with files.local_files(where.folder, where.names, where.revision) as folder:
            weight_files = [(folder / name, f"{where.folder}/{name}") for name in where.names]
            if configs.hooks.model_kind == "cross_layer_transcoder":
                return _cross_layer(configs, layer, *weight_files)
            return _of_layer(configs, layer, *weight_files)

    def _layer(self, site: str | None) -> int:
        number = _NUMBER.search(site or "")
        if self.layer is not None:
            return self.layer
        if number is None:
            where = f"the site {site} has none" if site else "no site is named either"
            msg = f"{self.path} holds a transcoder for every layer: set source.layer, for {where}"
            raise WrongRequest(msg)
        return int(number[0])

    def _weights(self, configs: FolderConfigs, layer: int) -> LayerFiles:
        listed = configs.hooks.transcoders
        if configs.hooks.model_kind == "cross_layer_transcoder":
            if listed:
                msg = (
                    f"{configs.shown} lists {listed[0]} and others as one cross-layer transcoder, which gloss "
                    f"loads only from W_enc_{layer}.safetensors and W_dec_{layer}.safetensors"
                )
                raise WrongRequest(msg)
            names = (f"W_enc_{layer}.safetensors", f"W_dec_{layer}.safetensors")
            return LayerFiles(self.path, names, self.revision)
        if listed is None:
            return LayerFiles(self.path, (f"layer_{layer}.safetensors",), self.revision)
        if layer >= len(listed):
            msg = f"{configs.shown} lists {len(listed)} transcoders: there is none for layer {layer}"
            raise WrongRequest(msg)
        return self._listed(listed[layer], configs.shown)

    def _listed(self, entry: str, shown: str) -> LayerFiles:
        """`hf://owner/name/folder/file?revision=...`, another URL, or a path from the config on."""
        url = urlsplit(entry)
        if url.scheme == "hf":
            where, revision = f"{url.netloc}{url.path}", parse_qs(url.query).get("revision", [None])[0]
        elif url.scheme or Path(entry).is_absolute():
            where, revision = entry, None
        else:
            where, revision = f"{self.path.rstrip('/')}/{entry}", self.revision
        folder, _, name = where.rpartition("/")
        if not name.endswith(".safetensors"):
            msg = f"{shown} lists {entry}, another format's file: name {folder} as the path of a coder of its own"
            raise WrongRequest(msg)
        return LayerFiles(folder, (name,), revision)


def _sizes(configs: FolderConfigs, stored: dict[str, tuple[int, ...]], suffix: str) -> tuple[int, int]:
    """Width and d_model, as the training's config has them or else the biases."""
    if configs.training:
        return configs.training.d_feature.value, configs.training.d_model.value
    width, d = (stored.get(f"{name}{suffix}", ()) for name in ("b_enc", "b_dec"))
    # A bias that is missing or no vector is refused by the check of its shape.
    return (width[0] if len(width) == 1 else 0), (d[0] if len(d) == 1 else 0)


def _of_layer(configs: FolderConfigs, layer: int, weights: tuple[Path, str]) -> "SparseCoder":
    from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)
    from tasks.coders.sparse_coder import SparseCoder  # noqa: PLC0415

    stored = tensors.safetensors_shapes(*weights)
    width, d = _sizes(configs, stored, "")
    shapes = {"b_enc": (width,), "b_dec": (d,), "W_enc": (width, d), "W_dec": (width, d)}
    rule = _rule(configs, thresholds=_THRESHOLD in stored, counted="k" in stored)
    of_rule = {"jumprelu": {_THRESHOLD: (width,)}, "topk": {"k": stored.get("k", ())}}
    optional: dict[str, tuple[int, ...]] = {"W_skip": (d, d), **of_rule.get(rule, {})}
    shapes |= {name: shape for name, shape in optional.items() if name in stored}
    harmless = {"k": "how many features fired in training"} if rule == "jumprelu" else {}
    loaded = tensors.read_safetensors(*weights, ExpectedTensors(shapes, _says(configs, rule), harmless))
    return SparseCoder(
        encoder=loaded["W_enc"],
        encoder_bias=loaded["b_enc"],
        centre=loaded["b_dec"].new_zeros(d),
        decoder=loaded["W_dec"],
        decoder_bias=loaded["b_dec"],
        activation=_activation(configs, loaded.get(_THRESHOLD), loaded.get("k"), weights[1]),
        skip=loaded.get("W_skip"),
        target=f"blocks.{layer}.{configs.hooks.feature_output_hook}",
    )


def _cross_layer(
    configs: FolderConfigs, layer: int, encoder: tuple[Path, str], decoder: tuple[Path, str]
) -> "SparseCoder":
    from tasks.coders import tensors  # noqa: PLC0415
    from tasks.coders.sparse_coder import SparseCoder  # noqa: PLC0415

    stored = tensors.safetensors_shapes(*encoder)
    width, d = _sizes(configs, stored, f"_{layer}")
    bias, rows, threshold = f"b_enc_{layer}", f"W_enc_{layer}", f"threshold_{layer}"
    # `b_dec` and `W_skip` are what a layer's output has besides all layers' features: no feature's part.
    shapes = {bias: (width,), f"b_dec_{layer}": (d,), rows: (width, d)}
    rule = _rule(configs, thresholds=threshold in stored, counted=False)
    shapes |= {threshold: (width,)} if threshold in stored and rule == "jumprelu" else {}
    harmless = {f"W_skip_{layer}": "what the layer's output has besides all layers' features"}
    loaded = tensors.read_safetensors(*encoder, ExpectedTensors(shapes, _says(configs, rule), harmless))
    return SparseCoder(
        encoder=loaded[rows],
        encoder_bias=loaded[bias],
        centre=loaded[bias].new_zeros(d),
        decoder=tensors.summed_decoder(*decoder, f"W_dec_{layer}", width, d),
        decoder_bias=loaded[bias].new_zeros(d),
        activation=_activation(configs, loaded.get(threshold), None, encoder[1]),
        target=None,
    )


def _rule(configs: FolderConfigs, *, thresholds: bool, counted: bool) -> str:
    """The activation function that the config names, or else the one that the file has tensors for."""
    made = "jumprelu" if thresholds else "topk" if counted or configs.hooks.k else "relu"
    return (configs.hooks.activation or made).lower().replace("_", "")


def _says(configs: FolderConfigs, rule: str) -> str:
    if configs.hooks.activation:
        return f"{configs.shown} says activation {configs.hooks.activation}"
    return f"{rule} coders of circuit-tracer have none of that name"


def _activation(
    configs: FolderConfigs, threshold: "Tensor | None", k: "Tensor | None", shown: str
) -> "ActivationFunction":
    """The activation function that the config names, or else the one that the file has tensors for."""
    import torch  # noqa: PLC0415

    from tasks.coders.activation_functions import JumpRelu, TopK  # noqa: PLC0415

    count = configs.hooks.k or (int(k.item()) if k is not None and k.numel() == 1 else None)
    rule = _rule(configs, thresholds=threshold is not None, counted=bool(count))
    if rule == "relu":
        return JumpRelu(torch.zeros(()))
    if rule == "jumprelu" and threshold is not None:
        return JumpRelu(threshold)
    if rule == "topk" and count:
        return TopK(count)
    lacking = {"jumprelu": f"for which {shown} has no thresholds", "topk": "for which no k is given"}
    reason = lacking.get(rule, "which gloss does not know: it loads relu, jumprelu and topk")
    msg = f"{configs.shown} asks for activation {configs.hooks.activation}, {reason}"
    raise WrongRequest(msg)
