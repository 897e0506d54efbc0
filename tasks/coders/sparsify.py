"""Checkpoints of EleutherAI's sparsify (and its forerunner `sae`), the format that delphi reads.

A folder holds `cfg.json` and `sae.safetensors`; a repository holds one such folder per site, named
after the site. Loads torch only in `load`. After sparsify 1.3 (sparse_coder.py, fused_encoder.py).
"""

import re
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, Field

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, ExpectedTensors, HookSite, Shapes

if TYPE_CHECKING:
    from tasks.coders.activation_functions import ActivationFunction
    from tasks.coders.sparse_coder import SparseCoder

CONFIG = "cfg.json"
WEIGHTS = "sae.safetensors"
TRAINING = "config.json"
"""The config of the training, which the library writes beside the folders of the sites."""

_SITE = re.compile(r"(\w+\.)*\w+\.\d+(\.\w+)*|embed_tokens|embed_in|wte", re.ASCII)
"""A folder that can be named after a module: of a layer, or the embedding."""
_SEED = re.compile(r"/seed\d+$")
"""Suffix of a site's folder where several coders were trained for it."""


class SparsifyConfig(BaseModel):
    """`cfg.json`; fields that only training used are ignored."""

    d_in: int = Field(gt=0)
    k: int = Field(gt=0)
    num_latents: int = Field(default=0, ge=0)
    expansion_factor: int = Field(default=32, gt=0)
    activation: str = "topk"
    signed: bool = False
    """Of `sae`: the k largest of either sign fire."""
    transcode: bool = False
    skip_connection: bool = False

    @property
    def width(self) -> int:
        """Number of features."""
        return self.num_latents or self.d_in * self.expansion_factor

    @property
    def reads_input(self) -> bool:
        """Whether it reads the module's input and writes its output. delphi infers that from a skip connection, too."""
        return self.transcode or self.skip_connection


class Sparsify(Checkpoint, frozen=True):
    """A sparse autoencoder or transcoder trained with sparsify: topk or groupmax."""

    detected_by: ClassVar[str] = (
        f"{CONFIG} with k and num_latents or expansion_factor beside {WEIGHTS}, or folders of that named after sites"
    )

    kind: Literal["sparsify"] = "sparsify"
    """The format."""
    path: str
    """Local folder, URL such as s3://bucket/folder, or Hub name `owner/name[/folder]`; the folder of
    the checkpoint, or the one above it that has a folder named after each site."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:
        """The source, if the folder's config is the library's, or those of the sites' folders in it are."""
        source = cls(path=path, revision=revision)
        training = files.peek_json(path, TRAINING, revision).get("sae")
        if _ours(files.peek_json(path, CONFIG, revision)) or (isinstance(training, dict) and "k" in training):
            return source
        if files.hub_folder(path, revision):
            return None
        inside = [name for name in files.list_names(path) if _SITE.fullmatch(name)]
        return (
            source
            if any(_ours(files.peek_json(f"{path}/{name}", CONFIG, revision)) for name in inside)
            else None
        )

    def declared_site(self) -> DeclaredSite | None:
        """The site that the checkpoint's folder is named after, on the side that the coder reads."""
        if not files.has_file(self.path, CONFIG, self.revision):
            return None
        trained = _trained(self.path, self._description(self.path))
        return DeclaredSite(trained) if trained else None

    def folder(self, site: str | None) -> str:
        """The folder that holds the site's checkpoint: one named after the site, else `path` itself."""
        module = _module(site) if site else ""
        nested = f"{self.path.rstrip('/')}/{module}"
        if not site:
            inside = False
        elif "://" not in self.path and files.hub_folder(self.path, self.revision) is None:
            # The nested name alone will not do: a folder that does not exist looks like a Hub name.
            inside = module in files.list_names(self.path)
        else:
            inside = files.has_file(nested, CONFIG, self.revision)
        if not inside and not files.has_file(self.path, CONFIG, self.revision):
            self._refuse(site)
        return nested if inside else self.path

    def digest(self, site: str | None) -> str:
        """A hash of the checkpoint's contents."""
        return files.digest_files(self.folder(site), (CONFIG, WEIGHTS), self.revision)

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":
        """The coder of a site."""
        from tasks.coders import tensors  # noqa: PLC0415  (torch, which the config must not cost)
        from tasks.coders.sparse_coder import SAME_SITE, SparseCoder  # noqa: PLC0415

        folder = self.folder(site)
        config = self._description(folder)
        _refuse_side(folder, config, place.site)
        width, d = config.width, config.d_in
        shapes: dict[str, tuple[int, ...]] = {
            "encoder.weight": (width, d),
            "encoder.bias": (width,),
            "W_dec": (width, d),
            "b_dec": (d,),
        }
        if config.skip_connection:
            shapes["W_skip"] = (d, d)
        with files.local_files(folder, (CONFIG, WEIGHTS), self.revision) as local:
            weights = tensors.read_safetensors(
                local / WEIGHTS, f"{folder}/{WEIGHTS}", _expected(config, shapes, folder)
            )
        bias = weights["b_dec"]
        return SparseCoder(
            encoder=weights["encoder.weight"],
            encoder_bias=weights["encoder.bias"],
            centre=bias.new_zeros(d) if config.transcode else bias,
            decoder=weights["W_dec"],
            decoder_bias=bias,
            activation=_activation(config),
            skip=weights.get("W_skip"),
            target=_module(_trained(folder, config) or place.site) if config.reads_input else SAME_SITE,
        )

    def _description(self, folder: str) -> SparsifyConfig:
        shown = f"{folder}/{CONFIG}"
        with files.local_files(folder, (CONFIG,), self.revision) as local:
            config = files.validate_config(
                files.read_json_object(local / CONFIG, shown), SparsifyConfig, shown
            )
        _check(config, shown)
        return config

    def _refuse(self, site: str | None) -> None:
        there = [] if files.hub_folder(self.path, self.revision) else files.list_names(self.path)
        pickled = [name for name in there if name.endswith(files.PICKLED)]
        if pickled:
            files.require_files(self.path, (CONFIG, WEIGHTS))
        holds = f"; it holds {files.shortened(there)}" if there else ""
        looked = f"{_module(site)}/{CONFIG} and {CONFIG}" if site else CONFIG
        correct = "its site" if site else "name its site"
        msg = (
            f"no sparsify checkpoint in {self.path}: looked for {looked}{holds}: "
            f"correct the coder's path or {correct}"
        )
        raise WrongRequest(msg)


def _expected(config: SparsifyConfig, shapes: Shapes, folder: str) -> ExpectedTensors:
    skips = f"skip_connection {str(config.skip_connection).lower()}"
    return ExpectedTensors(
        shapes,
        f"{folder}/{CONFIG} says activation {config.activation} and {skips}",
        remedies={"W_skip": "correct skip_connection to true, or save the file without the tensor"},
    )


def _ours(config: dict[str, object]) -> bool:
    return {"d_in", "k"} <= config.keys() and bool({"num_latents", "expansion_factor"} & config.keys())


def _module(site: str) -> str:
    """The site without its side and its form: the folder is named after the module."""
    return site.partition(":")[0].removesuffix(".input").removesuffix(".output")


def _trained(folder: str, config: SparsifyConfig) -> str | None:
    """The site that a folder is named after; null for a folder that is named otherwise."""
    name = _SEED.sub("", folder.rstrip("/")).rsplit("/", 1)[-1]
    if not _SITE.fullmatch(name):
        return None
    return f"{name}.input" if config.reads_input else name


def _refuse_side(folder: str, config: SparsifyConfig, site: str) -> None:
    """Refuse the side of the module that the coder does not read, which has the same width and raises no error."""
    trained = _trained(folder, config)
    is_input = site.partition(":")[0].endswith(".input")
    if config.reads_input and not is_input:
        what = "reads what goes into a module, to write what comes out"
        write = trained or f"{_module(site)}.input"
    elif not config.reads_input and is_input and trained == _module(site):
        what, write = "was trained on what comes out of the module", trained
    else:
        return
    msg = f"the coder in {folder} {what}, and {site} is not that: write {write} as the coder's site"
    raise WrongRequest(msg)


def _check(config: SparsifyConfig, shown: str) -> None:
    if config.activation not in {"topk", "groupmax"}:
        msg = (
            f"{shown} asks for activation {config.activation}, which gloss cannot load: use topk or groupmax"
        )
        raise WrongRequest(msg)
    if config.k > config.width:
        msg = f"{shown} asks for {config.k} active features of {config.width}: correct k or num_latents"
        raise WrongRequest(msg)
    if config.activation == "groupmax" and (config.width % config.k or config.signed):
        wrong = "signed" if config.signed else f"{config.width} features in {config.k} groups"
        msg = f"{shown} asks for groupmax of {wrong}, which sparsify does not have: correct k or num_latents"
        raise WrongRequest(msg)


def _activation(config: SparsifyConfig) -> "ActivationFunction":
    from tasks.coders.activation_functions import AbsTopK, GroupMax, TopK  # noqa: PLC0415

    if config.activation == "groupmax":
        return GroupMax(config.k)
    return AbsTopK(config.k) if config.signed else TopK(config.k)
