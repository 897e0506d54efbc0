"""Coders of OpenAI's sparse_autoencoder for GPT-2 small (v1, v4, v5): one file of torch.save per layer.

It lies at `resid_post_mlp_v5_32k/autoencoders/8.pt`: the site's place in the layer, then the layer. After
the library's model.py and paths.py. Loads torch only in `load`.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite, Shapes

if TYPE_CHECKING:
    from tasks.coders.sparse_coder import SparseCoder

_PLACE = re.compile(
    r"(?:.*/)?(?P<place>mlp_post_act|resid_(?:delta|post)_(?:attn|mlp))"
    r"(?:_v\d+(?:_\d+k)?)?/autoencoders/(?P<layer>\d+)\.pt"
)


class OpenAI(Checkpoint, frozen=True):
    """A ReLU coder (v1, v4) or a top-k coder of normalised vectors (v5)."""

    detected_by: ClassVar[str] = (
        "a file PLACE/autoencoders/LAYER.pt, such as resid_post_mlp_v5_32k/autoencoders/8.pt"
    )

    # Its deltas are what is added to the residual stream.
    locations: ClassVar[Mapping[str, str]] = {
        "resid_delta_attn": "blocks.N.hook_attn_out",
        "resid_post_attn": "blocks.N.hook_resid_mid",
        "mlp_post_act": "blocks.N.mlp.hook_post",
        "resid_delta_mlp": "blocks.N.hook_mlp_out",
        "resid_post_mlp": "blocks.N.hook_resid_post",
    }

    kind: Literal["openai"] = "openai"
    """The format."""
    path: str
    """The file of the coder, `.../autoencoders/8.pt`: local, a URL such as s3://bucket/8.pt, or on the Hub
    `owner/name/8.pt`."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the path ends as the library lays its files out, and there is such a file."""
        if not _PLACE.fullmatch(path):
            return None
        source = cls(path=path, revision=revision)
        # On the Hub, checking for a file would fetch it.
        there = files.hub_folder(path, revision) is not None or files.has_file(*source._file())
        return source if there else None

    def declared_site(self) -> DeclaredSite | None:
        """The site as the path has it; null for a file that lies elsewhere."""
        known = _PLACE.fullmatch(self.path)
        return DeclaredSite(f"{known['place']}.{known['layer']}") if known else None

    def digest(self, site: str | None) -> str:  # noqa: ARG002  (a file holds one coder)
        """A hash of the file."""
        folder, name = self._file()
        return f"{files.digest_files(folder, (name,), self.revision)} {name}"

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":  # noqa: ARG002
        """The coder."""
        import torch  # noqa: PLC0415  (which the config must not cost)

        from tasks.coders import tensors  # noqa: PLC0415
        from tasks.coders.activation_functions import JumpRelu, TopK  # noqa: PLC0415
        from tasks.coders.sparse_coder import SparseCoder  # noqa: PLC0415

        folder, name = self._file()
        with files.local_files(folder, (name,), self.revision) as local:
            content = tensors.load_torch_file(local / name, self.path)
            stored = tensors.tensor_shapes(content)
            width, d = (next(iter(stored.get(bias, ())), 0) for bias in ("latent_bias", "pre_bias"))
            shapes: dict[str, tuple[int, ...]] = {
                "latent_bias": (width,),
                "pre_bias": (d,),
                "encoder.weight": (width, d),
            }
            tied = "decoder.linear.weight" in stored and "decoder.weight" not in stored
            shapes |= {} if tied else {"decoder.weight": (d, width)}
            weights = tensors.checked_tensors(content, self.path, _expected(shapes, content, tied=tied))
        k = _k(content, width, self.path)
        return SparseCoder(
            encoder=weights["encoder.weight"],
            encoder_bias=weights["latent_bias"],
            centre=weights["pre_bias"],
            decoder=weights["encoder.weight"] if tied else weights["decoder.weight"].T,
            decoder_bias=weights["pre_bias"],
            activation=TopK(k) if k else JumpRelu(torch.zeros(())),
            # The library has no other sign of it.
            normalisation="layer_norm" if k else "none",
        )

    def _file(self) -> tuple[str, str]:
        """The folder and the name of the file."""
        folder, name = files.split_file(self.path, (".pt",))
        if name is None:
            msg = f"{self.path} is no file of a coder: name one, such as {self.path.rstrip('/')}/8.pt"
            raise WrongRequest(msg)
        return folder, name


def _expected(shapes: Shapes, content: "Mapping[str, object]", *, tied: bool) -> ExpectedTensors:
    """The library registers the options of its rule of firing as buffers too, beside `activation_state_dict`."""
    options = [name for name in content if name.startswith("activation.")]
    harmless = (
        {
            "latents_activation_frequency": "how often each latent fired in training",
            "latents_mean_square": "how strongly each latent fired in training",
        }
        | dict.fromkeys(options, "what activation_state_dict says")
        | ({"decoder.linear.weight": "the encoder's weight under another name"} if tied else {})
    )
    return ExpectedTensors(
        shapes, f"coders with the activation {content.get('activation', 'ReLU')} have none", harmless
    )


def _k(content: "Mapping[str, object]", width: int, shown: str) -> int | None:
    """How many latents fire on a token at most; null of a ReLU coder."""
    rule = content.get("activation", "ReLU")
    if rule == "ReLU":
        return None
    state = content.get("activation_state_dict")
    options = state if isinstance(state, dict) else {}
    after = options.get("postact_fn", "ReLU")
    if rule != "TopK" or after != "ReLU":
        msg = f"{shown} has the activation {rule} (then {after}): gloss loads ReLU, and TopK followed by ReLU"
        raise WrongRequest(msg)
    k = options.get("k")
    if not isinstance(k, int) or not 0 < k <= width:
        msg = f"{shown}: activation_state_dict.k is {k}, where a number from 1 to {width} is expected"
        raise WrongRequest(msg)
    return k
