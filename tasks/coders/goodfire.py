"""Goodfire's ReLU autoencoders for Llama 3, and qresearch's for DeepSeek-R1-Distill, which have the same layout.

One `.pt` or `.pth` file holds encoder and decoder as linear layers, called `encoder_linear` and
`decoder_linear` by Goodfire, `encoder` and `decoder` by qresearch. Loads torch only in `load`.
"""

import re
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite

if TYPE_CHECKING:
    from tasks.coders.sparse_coder import SparseCoder

_ENDINGS = (".pt", ".pth")
_NAME = re.compile(r"-SAE-l(?P<layer>\d+)(\.pth?)?$")


class Goodfire(Checkpoint, frozen=True):
    """A ReLU autoencoder of Goodfire or of qresearch."""

    detected_by: ClassVar[str] = "a .pt or .pth file called ...-SAE-l{layer}, as Goodfire and qresearch do"

    kind: Literal["goodfire"] = "goodfire"
    """The format."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the file, or the repository, has a name like Goodfire's."""
        folder, name = files.split_file(path, _ENDINGS)
        source = cls(path=path, revision=revision)
        if name is None and not files.hub_folder(folder, revision):
            return source if any(_is_coder(file) for file in files.list_names(folder)) else None
        return source if _NAME.search(name or folder) else None

    def declared_site(self) -> DeclaredSite | None:
        """The output of the layer that the file's name ends with; null where it has another name."""
        folder, name = files.split_file(self.path, _ENDINGS)
        if name is None and not files.hub_folder(folder, self.revision):
            name = self._place()[1]
        named = _NAME.search(name or folder)
        return DeclaredSite(f"model.layers.{named['layer']}.output") if named else None

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (formats that hold many sites need it)
        """A hash of the checkpoint's contents."""
        folder, name = self._place()
        return files.digest_files(folder, (name,), self.revision)

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder, its weights mapped from the file."""
        from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)
        from tasks.coders.activation_functions import JumpRelu  # noqa: PLC0415
        from tasks.coders.sparse_coder import SparseCoder  # noqa: PLC0415

        folder, name = self._place()
        shown = f"{folder}/{name}"
        with files.local_files(folder, (name,), self.revision) as local:
            content = tensors.load_torch_file(local / name, shown)
        part = "" if "encoder.weight" in content else "_linear"
        width, d_in = tensors.matrix_shape(content, shown, f"encoder{part}.weight")
        shapes = {
            f"encoder{part}.weight": (width, d_in),
            f"encoder{part}.bias": (width,),
            f"decoder{part}.weight": (d_in, width),
            f"decoder{part}.bias": (d_in,),
        }
        expected = ExpectedTensors(shapes, "ReLU coders of Goodfire and of qresearch have none of that name")
        weights = tensors.checked_tensors(content, shown, expected)
        bias = weights[f"decoder{part}.bias"]
        return SparseCoder(
            encoder=weights[f"encoder{part}.weight"],
            encoder_bias=weights[f"encoder{part}.bias"],
            # Nothing is subtracted from the input.
            centre=bias.new_zeros(d_in),
            decoder=weights[f"decoder{part}.weight"].T,
            decoder_bias=bias,
            activation=JumpRelu(bias.new_zeros(())),
        )

    def _place(self) -> tuple[str, str]:
        """The folder and the file in it: the one that is named, the only one, or the one called like its folder."""
        folder, name = files.split_file(self.path, _ENDINGS)
        if name:
            return folder, name
        remote = files.hub_folder(folder, self.revision)
        if remote:
            named = [f"{folder.rsplit('/', 1)[-1]}{ending}" for ending in _ENDINGS]
            held = [name for name in named if files.has_file(folder, name, self.revision)]
        else:
            held = [name for name in files.list_names(folder) if name.endswith(_ENDINGS)]
            held = [name for name in held if _is_coder(name)] or held
        if len(held) != 1:
            holds = f"it holds {files.shortened(held)}" if held else "none was found"
            msg = f"{folder} names no single .pt or .pth file ({holds}): name the file in the coder's path"
            raise WrongRequest(msg)
        return folder, held[0]


def _is_coder(name: str) -> bool:
    return name.endswith(_ENDINGS) and _NAME.search(name) is not None
