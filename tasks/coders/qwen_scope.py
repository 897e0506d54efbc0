"""Qwen-Scope, Qwen's top-k autoencoders of the residual stream: one `layer{n}.sae.pt` per layer.

k is in no file, only in the repository's name, `SAE-Res-Qwen3-8B-Base-W64K-L0_50`. Loads torch only in `load`.
"""

import re
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite

if TYPE_CHECKING:
    from tasks.coders.sparse_coder import SparseCoder

_ENDING = ".sae.pt"
_FILE = re.compile(r"layer(?P<layer>\d+)\.sae\.pt")
_HUB = re.compile(r"(^|/)SAE-Res-.+-W\d+K-L0_\d+(/|$)")
_L0 = re.compile(r"L0_(?P<k>\d+)(?=/|$)")
_NUMBER = re.compile(r"\.(?P<layer>\d+)(?=\.|$)")


class QwenScope(Checkpoint, frozen=True):
    """A top-k autoencoder of Qwen-Scope."""

    detected_by: ClassVar[str] = "layer{n}.sae.pt, as Qwen-Scope names its files"

    kind: Literal["qwen_scope"] = "qwen_scope"
    """The format."""
    layer: int | None = None
    """Layer whose coder is wanted; null takes it from the site. A path that names the file needs none."""
    k: int | None = Field(default=None, gt=0)
    """Features that fire on a token; null takes it from the path's `L0_{k}`."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the files in the folder, or the repository, have Qwen-Scope's names."""
        folder, name = files.split_file(path, (_ENDING,))
        source = cls(path=path, revision=revision)
        if files.hub_folder(folder, revision):
            return source if _HUB.search(folder) else None
        there = [name] if name else files.list_names(folder)
        return source if any(_FILE.fullmatch(file) for file in there) else None

    def declared_site(self) -> DeclaredSite | None:
        """The output of the layer that option or path name, or of the one layer that the folder holds."""
        layer = self._layer(None)
        return None if layer is None else DeclaredSite(f"model.layers.{layer}.output")

    def options_in_path(self) -> dict[str, object]:
        """How many features fire."""
        named = _L0.search(files.split_file(self.path, (_ENDING,))[0])
        return {"k": self.k or (int(named["k"]) if named else None)}

    def digest(self, site: str | None) -> str:
        """A hash of the checkpoint's contents."""
        folder, name = self._place(site)
        return files.digest_files(folder, (name,), self.revision)

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder, its weights mapped from the file."""
        from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)
        from tasks.coders.activation_functions import TopK  # noqa: PLC0415
        from tasks.coders.sparse_coder import SparseCoder  # noqa: PLC0415

        folder, name = self._place(site)
        shown = f"{folder}/{name}"
        with files.local_files(folder, (name,), self.revision) as local:
            content = tensors.load_torch_file(local / name, shown)
        width, d_in = tensors.matrix_shape(content, shown, "W_enc")
        shapes = {"W_enc": (width, d_in), "b_enc": (width,), "W_dec": (d_in, width), "b_dec": (d_in,)}
        expected = ExpectedTensors(shapes, "top-k coders of Qwen-Scope have none of that name")
        weights = tensors.checked_tensors(content, shown, expected)
        return SparseCoder(
            encoder=weights["W_enc"],
            encoder_bias=weights["b_enc"],
            # Nothing is subtracted from the input, unlike in most top-k coders.
            centre=weights["b_dec"].new_zeros(d_in),
            decoder=weights["W_dec"].T,
            decoder_bias=weights["b_dec"],
            activation=TopK(self._k(width, shown)),
        )

    def _layer(self, site: str | None) -> int | None:
        folder, name = files.split_file(self.path, (_ENDING,))
        named = _FILE.fullmatch(name) if name else None
        if named is None and self.layer is not None:
            return self.layer
        named = named or _NUMBER.search(site or "")
        if named is None and not name and not files.hub_folder(folder, self.revision):
            held = [file for file in map(_FILE.fullmatch, files.list_names(folder)) if file]
            named = held[0] if len(held) == 1 else None
        return int(named["layer"]) if named else None

    def _place(self, site: str | None) -> tuple[str, str]:
        """The folder and the file in it."""
        folder, name = files.split_file(self.path, (_ENDING,))
        layer = self._layer(site)
        if not name and layer is None:
            msg = f"{folder} has a coder per layer: give the coder's source a layer, or name its layerN{_ENDING}"
            raise WrongRequest(msg)
        name = name or f"layer{layer}{_ENDING}"
        there = [] if files.hub_folder(folder, self.revision) else files.list_names(folder)
        if there and name not in there:
            msg = f"{folder} has no {name}: it holds {files.shortened(there)}"
            raise WrongRequest(msg)
        return folder, name

    def _k(self, width: int, shown: str) -> int:
        named = _L0.search(files.split_file(self.path, (_ENDING,))[0])
        k = self.k or (int(named["k"]) if named else None)
        if k is None:
            msg = f"{shown} does not say how many features fire: give the coder's source a k"
            raise WrongRequest(msg)
        if k > width:
            msg = f"{shown} has {width} features, of which {k} cannot fire: correct the source's k"
            raise WrongRequest(msg)
        return k
