"""Gemma Scope 2, Google's JumpReLU coders for Gemma 3: autoencoders, transcoders and cross-layer transcoders.

`resid_post/layer_12_width_16k_l0_small` holds `config.json` and `params.safetensors`; the folder of a
cross-layer transcoder, `clt/width_262k_l0_medium`, one `params_layer_N.safetensors` per layer that it reads.
Where the config is missing, the folders' names are used instead. Loads torch only in `load`.
"""

import re
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, Field

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite, Shapes

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.coders.sparse_coder import SparseCoder

CONFIG = "config.json"
WEIGHTS = "params.safetensors"

_SKIP = "affine_skip_connection"

_READ_BY_MLP = "model.layers.{layer}.pre_feedforward_layernorm.output"
_WRITTEN_BY_MLP = "model.layers.{layer}.post_feedforward_layernorm.output"

_SITES = {
    "resid_post": "model.layers.{layer}.output",
    "attn_out": "model.layers.{layer}.self_attn.o_proj.input",
    "mlp_out": _WRITTEN_BY_MLP,
    "transcoder": _READ_BY_MLP,
    "clt": _READ_BY_MLP,
}

_HUB = re.compile(r"(^|/)gemma-scope-2-[^/]+/")
_KIND = re.compile(r"(^|/)(?P<kind>resid_post|attn_out|mlp_out|transcoder|clt|crosscoder)(_all)?(?=/|$)")
_LAYER = re.compile(r"(^|/)layer_(?P<layer>\d+)_width_")
_ONE_LAYER = re.compile(r"params_layer_(?P<layer>\d+)\.safetensors")
_NUMBER = re.compile(r"\.(?P<layer>\d+)(?=\.|$)")


class GemmaScope2Config(BaseModel):
    """`config.json`; the model's name is ignored, it is spelled in several ways."""

    architecture: str = "jump_relu"
    hf_hook_point_in: str | list[str] | None = None
    hf_hook_point_out: str | list[str] | None = None
    what: str = Field(default="", alias="type")
    affine_connection: bool | None = None
    """Whether it adds a linear map of its input; null where the tensors determine it."""
    l0: float | None = None


class _CoderFile(NamedTuple):
    """The file to load, and what config and names say about it."""

    folder: str
    weights: str
    """Name of the file; empty for a cross-layer transcoder of which no layer is chosen."""
    site: str | None
    target: str | None
    """Null where it writes to several layers."""
    l0: float | None
    affine: bool | None = None
    """Whether it has a skip connection, where the config has the key."""


class GemmaScope2(Checkpoint, frozen=True):
    """A JumpReLU autoencoder or transcoder of Gemma Scope 2, for Gemma 3."""

    detected_by: ClassVar[str] = f"{WEIGHTS} or params_layer_N.safetensors in Gemma Scope 2's layout"

    kind: Literal["gemma_scope_2"] = "gemma_scope_2"
    """The format."""
    layer: int | None = None
    """Of a cross-layer transcoder, the layer whose features are wanted; null takes it from the site. A path
    that names the file needs none."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the files in the folder, or the repository, have Gemma Scope 2's names."""
        folder, name = files.split_file(path, (".safetensors",))
        source = cls(path=path, revision=revision)
        if files.hub_folder(folder, revision):
            # The Hub is not asked: offline, a missing file and one that is not cached look alike.
            return source if _HUB.search(folder) and _KIND.search(folder) else None
        there = [name] if name else files.list_names(folder)
        return source if any(file == WEIGHTS or _ONE_LAYER.fullmatch(file) for file in there) else None

    def declared_site(self) -> DeclaredSite | None:
        """The site that the config names, or the folders where there is none."""
        site = self._find(None).site
        return DeclaredSite(site) if site else None

    def options_in_path(self) -> dict[str, object]:
        """What it reads."""
        named = _KIND.search(self.path)
        return {"kind": named["kind"] if named else None}

    def digest(self, site: str | None) -> str:
        """A hash of the checkpoint's contents."""
        coder_file = self._chosen(site)
        wanted = (CONFIG,) if files.has_file(coder_file.folder, CONFIG, self.revision) else ()
        return files.digest_files(coder_file.folder, (*wanted, coder_file.weights), self.revision)

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder, its weights mapped from the file."""
        coder_file = self._chosen(site)
        with files.local_files(coder_file.folder, (coder_file.weights,), self.revision) as local:
            return _coder(coder_file, local / coder_file.weights, f"{coder_file.folder}/{coder_file.weights}")

    def _chosen(self, site: str | None) -> _CoderFile:
        """The file to load; refuses a cross-layer transcoder without a layer."""
        coder_file = self._find(site)
        if not coder_file.weights:
            msg = (
                f"{coder_file.folder} is a cross-layer transcoder, with one file per layer: give the coder's source a "
                "layer"
            )
            raise WrongRequest(msg)
        return coder_file

    def _find(self, site: str | None) -> _CoderFile:
        """The file that holds the coder, and what config and names say about it."""
        folder, name = files.split_file(self.path, (".safetensors",))
        described = self._described(folder)
        named = _KIND.search(folder)
        kind = described.what.lower() or (named["kind"] if named else "")
        if "crosscoder" in kind or (named and named["kind"] == "crosscoder"):
            msg = (
                f"{folder} is a crosscoder, whose features read several sites at once: gloss explains features "
                "of one site, use a folder of resid_post, attn_out, mlp_out, transcoder or clt"
            )
            raise WrongRequest(msg)
        if "clt" in kind or (named and named["kind"] == "clt") or self._by_layer(folder, name):
            return self._crossing(folder, name, site)
        layer = _LAYER.search(folder)
        inferred = _SITES[named["kind"]].format(layer=layer["layer"]) if named and layer else None
        reads = _single(described.hf_hook_point_in, f"{folder}/{CONFIG}") or inferred
        writes = _single(described.hf_hook_point_out, f"{folder}/{CONFIG}")
        if writes is None and layer and kind.startswith("transcoder"):
            writes = _WRITTEN_BY_MLP.format(layer=layer["layer"])
        target = "" if writes in {None, reads} else writes
        return _CoderFile(folder, name or WEIGHTS, reads, target, described.l0, described.affine_connection)

    def _by_layer(self, folder: str, name: str | None) -> bool:
        """Whether there is a file per layer instead of one."""
        held = [name] if name else [] if files.hub_folder(folder, self.revision) else files.list_names(folder)
        return WEIGHTS not in held and any(_ONE_LAYER.fullmatch(file) for file in held)

    def _crossing(self, folder: str, name: str | None, site: str | None) -> _CoderFile:
        """A layer of a cross-layer transcoder. Its L0 counts firings of all layers, so none is declared."""
        named = _ONE_LAYER.fullmatch(name) if name else None
        if named is None and self.layer is None:
            named = _NUMBER.search(site or "")
        layer = int(named["layer"]) if named else self.layer
        if layer is None:
            return _CoderFile(folder, "", None, None, None)
        file = name or f"params_layer_{layer}.safetensors"
        return _CoderFile(folder, file, _READ_BY_MLP.format(layer=layer), None, None)

    def _described(self, folder: str) -> GemmaScope2Config:
        if not files.has_file(folder, CONFIG, self.revision):
            return GemmaScope2Config()
        shown = f"{folder}/{CONFIG}"
        with files.local_files(folder, (CONFIG,), self.revision) as local:
            described = files.validate_config(
                files.read_json_object(local / CONFIG, shown), GemmaScope2Config, shown
            )
        if described.architecture != "jump_relu":
            msg = f"{shown} has the architecture {described.architecture}: gloss loads jump_relu"
            raise WrongRequest(msg)
        return described


def _single(hook: str | list[str] | None, shown: str) -> str | None:
    """The one site of a hook."""
    hooks = [hook] if isinstance(hook, str) else hook or []
    if len(hooks) > 1:
        msg = (
            f"{shown} names {len(hooks)} hook points: gloss explains features of one site, use a coder of one"
        )
        raise WrongRequest(msg)
    return hooks[0] if hooks else None


def _coder(coder_file: _CoderFile, file: "Path", shown: str) -> "SparseCoder":
    from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)
    from tasks.coders.activation_functions import JumpRelu  # noqa: PLC0415
    from tasks.coders.sparse_coder import SparseCoder  # noqa: PLC0415

    stored = tensors.safetensors_shapes(file, shown)
    weights = tensors.read_safetensors(file, shown, _expected(coder_file, stored, shown))
    encoder, decoder, skip = weights["w_enc"].T, weights["w_dec"], weights.get(_SKIP)
    return SparseCoder(
        encoder=encoder,
        encoder_bias=weights["b_enc"],
        # Nothing is subtracted from the input, unlike in other coders with a b_dec.
        centre=encoder.new_zeros(encoder.shape[1]),
        # A feature that writes to several layers is represented by the sum over them.
        decoder=decoder.sum(dim=1) if coder_file.target is None else decoder,
        decoder_bias=weights["b_dec"],
        activation=JumpRelu(weights["threshold"]),
        skip=None if skip is None else skip.T,
        target=coder_file.target,
        l0=coder_file.l0,
    )


def _expected(coder_file: _CoderFile, stored: Shapes, shown: str) -> ExpectedTensors:
    """The tensors of an autoencoder, a transcoder or one layer of a cross-layer transcoder."""
    crossing = coder_file.target is None
    shapes = _shapes(stored, shown, crossing=crossing)
    (d_in, _), (*_, d_out) = stored["w_enc"], stored["w_dec"]
    if not crossing and (coder_file.affine or (coder_file.affine is None and _SKIP in stored)):
        shapes[_SKIP] = (d_in, d_out)
    denied = coder_file.affine is False and not crossing
    return ExpectedTensors(
        shapes,
        f"{coder_file.folder}/{CONFIG} says affine_connection false"
        if denied
        else "JumpReLU coders of Gemma Scope 2 have none of that name",
        harmless={_SKIP: "it is no feature's part, and no single site can be compared"} if crossing else {},
        remedies={_SKIP: "correct affine_connection to true, or save the file without the tensor"}
        if denied
        else {},
    )


def _shapes(there: Shapes, shown: str, *, crossing: bool) -> dict[str, tuple[int, ...]]:
    """Required shapes of the tensors of either of them, by name."""
    from tasks.coders import tensors  # noqa: PLC0415

    for name, axes in {
        "w_enc": "d_in, width",
        "w_dec": "width, layers, d_out" if crossing else "width, d_out",
    }.items():
        tensors.require_shapes(shown, {name: there.get(name, ())}, there)
        if len(there[name]) != len(axes.split()):
            msg = f"{shown}: {name} has shape {list(there[name])}, where [{axes}] is expected"
            raise WrongRequest(msg)
    (d_in, width), (*_, d_out) = there["w_enc"], there["w_dec"]
    return {
        "w_enc": (d_in, width),
        "w_dec": (width, *there["w_dec"][1:]),
        "b_enc": (width,),
        "b_dec": (d_out,),
        "threshold": (width,),
    }
