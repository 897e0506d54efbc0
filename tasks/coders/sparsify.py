"""Checkpoints of EleutherAI's sparsify (and its forerunner `sae`), the format that delphi reads.

A folder holds `cfg.json` and `sae.safetensors`; a repository holds one such folder per site, named
after the site. Loads torch only in `load`.
"""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.errors import WrongRequest
from tasks.coders import config, files

if TYPE_CHECKING:
    from tasks.coders.dictionary import SparseCoder

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"


class Checkpoint(BaseModel):
    """What `cfg.json` says; fields that only training used are ignored."""

    d_in: int = Field(gt=0)
    k: int = Field(gt=0)
    num_latents: int = 0
    expansion_factor: int = 32
    activation: str = "topk"
    signed: bool = False
    transcode: bool = False
    skip_connection: bool = False

    @property
    def width(self) -> int:
        """Number of features."""
        return self.num_latents or self.d_in * self.expansion_factor


class Sparsify(BaseModel):
    """A top-k sparse autoencoder trained with sparsify."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["sparsify"] = "sparsify"
    """The format."""
    path: str
    """Local folder, URL such as s3://bucket/folder, or Hub name `owner/name[/folder]`; the folder of
    the checkpoint, or the one above it that has a folder named after each site."""
    revision: str | None = None
    """Branch, tag or commit of a Hub repository; null takes its main branch."""

    def folder(self, site: str) -> str:
        """The folder that holds the site's checkpoint: one named after the site, else `path` itself."""
        nested = f"{self.path.rstrip('/')}/{_module(site)}"
        if "://" not in self.path and files.hub(self.path, self.revision) is None:
            # Not asked of the nested name alone: a folder that is not there looks like a Hub name.
            inside = _module(site) in files.names(self.path)
        else:
            inside = files.has(nested, CONFIG, self.revision)
        if not inside and not files.has(self.path, CONFIG, self.revision):
            self._refuse(site)
        return nested if inside else self.path

    def digest(self, site: str) -> str:
        """A hash of the checkpoint's contents."""
        return files.digest(self.folder(site), (CONFIG, WEIGHTS), self.revision)

    def load(self, site: str, device: str) -> "SparseCoder":
        """The coder of a site, on a device."""
        from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)
        from tasks.coders.dictionary import SparseCoder, TopK  # noqa: PLC0415

        folder = self.folder(site)
        with ExitStack() as stack:
            local = stack.enter_context(files.bring(folder, (CONFIG, WEIGHTS), self.revision))
            raw = config.read(local / CONFIG, f"{folder}/{CONFIG}")
            checkpoint = config.check(raw, Checkpoint, f"{folder}/{CONFIG}")
            _check(checkpoint, f"{folder}/{CONFIG}")
            width, d_in = checkpoint.width, checkpoint.d_in
            shapes = {
                "encoder.weight": (width, d_in),
                "encoder.bias": (width,),
                "W_dec": (width, d_in),
                "b_dec": (d_in,),
            }
            weights = tensors.read(local / WEIGHTS, f"{folder}/{WEIGHTS}", shapes, device)
        return SparseCoder(
            encoder=weights["encoder.weight"],
            encoder_bias=weights["encoder.bias"],
            centre=weights["b_dec"],
            decoder=weights["W_dec"],
            decoder_bias=weights["b_dec"],
            activation=TopK(checkpoint.k),
        )

    def _refuse(self, site: str) -> None:
        there = [] if files.hub(self.path, self.revision) else files.names(self.path)
        pickled = [name for name in there if name.endswith(files.PICKLED)]
        if pickled:
            files.require(self.path, (CONFIG, WEIGHTS))
        holds = f"; it holds {files.shortened(there)}" if there else ""
        msg = (
            f"no sparsify checkpoint in {self.path}: looked for {_module(site)}/{CONFIG} and {CONFIG}"
            f"{holds}: correct the coder's path or its site"
        )
        raise WrongRequest(msg)


def _module(site: str) -> str:
    """The site without its side: the folder is named after the module."""
    return site.removesuffix(".input").removesuffix(".output")


def _check(checkpoint: Checkpoint, shown: str) -> None:
    refused = {
        "transcode": checkpoint.transcode,
        "skip_connection": checkpoint.skip_connection,
        "signed": checkpoint.signed,
        f"activation {checkpoint.activation}": checkpoint.activation != "topk",
    }
    for name, wanted in refused.items():
        if wanted:
            msg = f"{shown} asks for {name}, which gloss cannot load: use a topk autoencoder of sparsify"
            raise WrongRequest(msg)
    if checkpoint.k > checkpoint.width:
        msg = (
            f"{shown} asks for {checkpoint.k} active features of {checkpoint.width}: it is not a topk config"
        )
        raise WrongRequest(msg)
