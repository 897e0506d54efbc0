"""Gemma Scope, Google's JumpReLU coders for Gemma 2 (Lieberum et al. 2024, arXiv:2408.05147).

A folder such as `layer_20/width_16k/average_l0_71` holds `params.npz` and nothing else: the site
is in the name of the repository (res, mlp, att, transcoders), layer and L0 are in the folder's name. Loads
torch only in `load`.
"""

import re
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.coders.sparse_coder import SparseCoder

WEIGHTS = "params.npz"

SiteKind = Literal["res", "mlp", "att", "transcoder", "embedding"]

_SITES: dict[SiteKind, str] = {
    "res": "model.layers.{layer}.output",
    "mlp": "model.layers.{layer}.post_feedforward_layernorm.output",
    "att": "model.layers.{layer}.self_attn.o_proj.input",
    # Divided by its root mean square, before the norm's gain: no module of the model outputs this.
    "transcoder": "layers.{layer}.pre_feedforward_layernorm:normalised",
    # As transformers has it since version 5, multiplied by the root of the width.
    "embedding": "model.embed_tokens.output",
}

_TARGET = "model.layers.{layer}.post_feedforward_layernorm.output"

_HUB = re.compile(r"gemma-scope-\d+b-.*average_l0_")
_KIND = re.compile(r"gemma-scope-[^/]*-(?P<kind>res|mlp|att|transcoder)s?(?=/|$)")
_EMBEDDING = re.compile(r"(^|/)embedding(/|$)")
_LAYER = re.compile(r"layer_(?P<layer>\d+)(?=/|$)")
_L0 = re.compile(r"average_l0_(?P<l0>\d+(\.\d+)?)")
_CANONICAL = re.compile(r"(^|[/-])canonical(/|$)")


class GemmaScope(Checkpoint, frozen=True):
    """A JumpReLU autoencoder or transcoder of Gemma Scope, for Gemma 2."""

    detected_by: ClassVar[str] = f"{WEIGHTS} in Gemma Scope's layout, or a path to an .npz file"

    kind: Literal["gemma_scope"] = "gemma_scope"
    """The format."""
    site_kind: SiteKind | None = None
    """What it reads: the residual stream, the MLP's or the attention heads' output, what the MLP reads
    (a transcoder), the embeddings; null takes it from the path, which names the repository."""
    layer: int | None = None
    """Layer that it belongs to; null takes it from the path's `layer_N`."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the path names an .npz file or holds one under the name that Gemma Scope gives it."""
        folder, name = files.split_file(path, (".npz",))
        source = cls(path=path, revision=revision)
        if name is not None or "gemma-scope" in path:
            source._check()
        if files.hub_folder(folder, revision):
            # The Hub is not asked: it would send the weights, up to 19 GB.
            return source if name or _HUB.search(folder) else None
        there = files.list_names(folder)
        return source if (name or WEIGHTS) in there else None

    def declared_site(self) -> DeclaredSite | None:
        """The site that the path names."""
        self._check()
        kind, layer = self._kind, self._layer
        if kind is None or (layer is None and kind != "embedding"):
            return None
        return DeclaredSite(_SITES[kind].format(layer=layer))

    def options_in_path(self) -> dict[str, object]:
        """Kind of site and layer, which determine how its weights are folded."""
        return {"site_kind": self._kind, "layer": self._layer}

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (formats that hold many sites need it)
        """A hash of the checkpoint's contents."""
        folder, name = self._place()
        return files.digest_files(folder, (name,), self.revision)

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder, its weights mapped from the file."""
        from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)

        folder, name = self._place()
        shown = f"{folder}/{name}"
        with files.local_files(folder, (name,), self.revision) as local:
            there = tensors.npz_shapes(local / name, shown)
            # Some of the older files have their keys in lower case.
            keys = {key.lower(): key for key in there}
            shapes = _shapes(there, keys, shown)
            if "scaling_factor" in keys:
                shapes[keys["scaling_factor"]] = there[keys["scaling_factor"]]
            expected = ExpectedTensors(shapes, "JumpReLU coders of Gemma Scope have none of that name")
            read = tensors.read_npz(local / name, shown, expected)
        return self._coder({key.lower(): tensor for key, tensor in read.items()}, shown)

    def _coder(self, weights: "dict[str, Tensor]", shown: str) -> "SparseCoder":
        from tasks.coders.activation_functions import JumpRelu  # noqa: PLC0415
        from tasks.coders.sparse_coder import SAME_SITE, SparseCoder  # noqa: PLC0415

        if "scaling_factor" in weights and not (weights["scaling_factor"] == 1).all():
            msg = f"{shown} has a fine-tuned scaling_factor: fold it into W_dec and save again"
            raise WrongRequest(msg)
        kind = self._kind
        if kind is None:
            msg = (
                f"{shown} does not say what it reads: give the coder's source a site_kind, "
                f"one of {', '.join(_SITES)}"
            )
            raise WrongRequest(msg)
        encoder, decoder, bias = weights["w_enc"].T, weights["w_dec"], weights["b_dec"]
        if kind == "embedding":
            # They were trained on rows of the embedding matrix, the model multiplies those by this.
            scale = encoder.shape[1] ** 0.5
            encoder, decoder, bias = encoder / scale, decoder * scale, bias * scale
        target: str | None = SAME_SITE
        if kind == "transcoder":
            target = None if self._layer is None else _TARGET.format(layer=self._layer)
        l0 = _L0.search(self.path)
        return SparseCoder(
            encoder=encoder,
            encoder_bias=weights["b_enc"],
            # Nothing is subtracted from the input, unlike in other coders with a b_dec.
            centre=encoder.new_zeros(encoder.shape[1]),
            decoder=decoder,
            decoder_bias=bias,
            activation=JumpRelu(weights["threshold"]),
            target=target,
            l0=float(l0["l0"]) if l0 else None,
        )

    def _place(self) -> tuple[str, str]:
        """The folder and the file in it."""
        self._check()
        folder, name = files.split_file(self.path, (".npz",))
        return folder, name or WEIGHTS

    def _check(self) -> None:
        """Refuse the folders that SAELens still lists and Google has deleted."""
        folder, _ = files.split_file(self.path, (".npz",))
        if _CANONICAL.search(folder) and not files.list_names(folder):
            msg = (
                f"{self.path}: Gemma Scope's `canonical` folders were deleted: name the folder with the L0 near "
                "100 that it stood for, such as layer_20/width_16k/average_l0_71 (SAELens' pretrained_saes.yaml "
                "says which)"
            )
            raise WrongRequest(msg)

    @property
    def _kind(self) -> SiteKind | None:
        if self.site_kind is not None:
            return self.site_kind
        if _EMBEDDING.search(self.path):
            return "embedding"
        named = _KIND.search(self.path)
        return named["kind"] if named else None  # pyright: ignore[reportReturnType]  (the pattern's words)

    @property
    def _layer(self) -> int | None:
        if self.layer is not None:
            return self.layer
        named = _LAYER.search(self.path)
        return int(named["layer"]) if named else None


def _shapes(
    there: dict[str, tuple[int, ...]], keys: dict[str, str], shown: str
) -> dict[str, tuple[int, ...]]:
    """Required shapes of the file's arrays, by their names in the file."""
    from tasks.coders import tensors  # noqa: PLC0415

    wanted = {key: keys.get(key, key.replace("w_", "W_")) for key in ("w_enc", "w_dec")}
    for name in wanted.values():
        tensors.require_shapes(shown, {name: there.get(name, ())}, there)
        if len(there[name]) != 2:
            msg = f"{shown}: {name} has shape {list(there[name])}, where a matrix is expected"
            raise WrongRequest(msg)
    d_in, width = there[wanted["w_enc"]]
    d_out = there[wanted["w_dec"]][1]
    return {
        wanted["w_enc"]: (d_in, width),
        wanted["w_dec"]: (width, d_out),
        keys.get("b_enc", "b_enc"): (width,),
        keys.get("b_dec", "b_dec"): (d_out,),
        keys.get("threshold", "threshold"): (width,),
    }
