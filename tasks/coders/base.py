"""Base classes of coder formats: pydantic models that detect their files, declare their site and load. No torch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from storage.errors import WrongRequest
from tasks.fields import ConfigModel

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.coders.sparse_coder import SparseCoder


Shapes = Mapping[str, tuple[int, ...]]

TRAINING_STATISTICS: Mapping[str, str] = {
    "act_freq_scores": "how often each feature fired lately in training",
    "n_forward_passes_since_fired": "how long each feature was silent in training",
    "num_batches_not_active": "how long each feature was silent in training",
    "num_tokens_since_fired": "how long each feature was silent in training",
    "stats_last_nonzero": "how long each feature was silent in training",
    "step": "how long the training took",
}
"""Bookkeeping of trainings, each with its meaning: no coder encodes or decodes with it."""

MAX_NAMED_TENSORS = 4
"""Most tensors that a message names."""


@dataclass(frozen=True)
class ExpectedTensors:
    """The tensors of one coder in one file, and the reason to refuse others.

    A tensor that is not read may be essential to a coder: a threshold, a skip connection, a normalisation. So each
    format lists the tensors of its coder and those that are known to change nothing, and a file with any other is
    refused by that tensor's name.
    """

    shapes: Shapes
    """Required tensors, each with its shape."""
    says: str
    """Why other tensors are refused, as a clause: `cfg.json says architecture standard`."""
    harmless: Mapping[str, str] = field(default_factory=dict)
    """Tensors that are allowed and not read, each with the reason why that changes nothing."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """What to do about a refused tensor, where a specific remedy is known."""

    def refuse_others(self, shown: str, stored: Iterable[str]) -> None:
        """Raise `WrongRequest` if there is any other tensor; `shown` is the file as the user knows it."""
        others = sorted(set(stored) - self.shapes.keys() - self.harmless.keys() - TRAINING_STATISTICS.keys())
        if not others:
            return
        named = ", ".join(others[:MAX_NAMED_TENSORS])
        more = f" and {len(others) - MAX_NAMED_TENSORS} more" if len(others) > MAX_NAMED_TENSORS else ""
        them = "it" if len(others) == 1 else "them"
        otherwise = f"correct the coder's source or its config, or save the file without {them} if the coder needs none"
        remedy = next((self.remedies[name] for name in others if name in self.remedies), otherwise)
        msg = f"{shown} has {'a tensor' if len(others) == 1 else 'tensors'} {named}{more}, and {self.says}: {remedy}"
        raise WrongRequest(msg)


class SiteStatistics(NamedTuple):
    """Mean and deviation of each coordinate at a site, as Python numbers that survive JSON."""

    mean: tuple[float, ...]
    """[d]."""
    deviation: tuple[float, ...]
    """[d], above zero."""


class HookSite(NamedTuple):
    """The site that a coder reads, as the subject model has it."""

    site: str
    """The site's name."""
    d: int
    """Width of its vectors."""
    writes: "Tensor | None" = None
    """[d, d_out]: the vector that each coordinate writes, where one linear map alone reads the site; else null."""
    statistics: SiteStatistics | None = None
    """Measured only for formats with `needs_statistics`."""


class DeclaredSite(NamedTuple):
    """The site that a checkpoint names, in the terms of its format."""

    site: str
    """`blocks.5.hook_resid_post`, `model.layers.22.mlp.output`, `layers.5.mlp`, ..."""
    centred: bool = False
    """Whether it was trained on vectors less their mean over coordinates."""


class CoderFormat(ConfigModel, ABC, frozen=True):
    """A sparse coder's checkpoint, or a baseline without one. One file per format, one line in `formats.Format`."""

    needs_statistics: ClassVar[bool] = False
    """Whether the coder depends on the statistics of its site (`HookSite.statistics`)."""

    locations: ClassVar[Mapping[str, str]] = {}
    """TransformerLens' hook for each name that the format's library has for a place in every layer, N being the layer:
    with `{"mlp_out": "blocks.N.mlp.hook_out"}` the site `mlp_out_layer_3` or `mlp_out.3` can be named."""

    detected_by: ClassVar[str]
    """What `kind: auto` looks for, as a phrase: `cfg.json with d_sae beside sae_weights.safetensors`."""

    @classmethod
    def detect(cls, path: str, revision: str | None) -> Self | None:  # noqa: ARG003  (a baseline has no files)
        """The source, if the folder or file at `path` holds this format by its names and configs; else null.

        Reads no weights. Raises nothing about files that belong to another format.
        """
        return None

    def declared_site(self) -> DeclaredSite | None:
        """The site that the checkpoint names; null where it names none, and the config must."""
        return None

    def identity(self, site: str | None) -> dict[str, object]:
        """What a fingerprint hashes: the format, its options and the contents of its files, wherever they lie."""
        options = self.model_dump(mode="json", exclude={"kind", "path", "revision"}, exclude_defaults=True)
        kind = getattr(self, "kind", "")
        declared = self.declared_site() if site is None else None
        context = {"declared": declared, "path": self.options_in_path()}
        return {"kind": kind, "options": options, "digest": self.digest(site)} | context

    def options_in_path(self) -> dict[str, object]:
        """What affects the coder and is read from the names of its folders, which the digest leaves out."""
        return {}

    @abstractmethod
    def digest(self, site: str | None) -> str:
        """A hash of the checkpoint's contents. `site` is the config's, null where the config names none."""

    @abstractmethod
    def load(self, site: str | None, place: HookSite) -> "SparseCoder":
        """The coder in this process' memory, in float32; `site` is the config's, `place` the model's.

        Raises `WrongRequest` for what is missing, misshapen, not finite, pickled or not of this format.
        """


class Checkpoint(CoderFormat, frozen=True):
    """A format whose coder is stored in files."""

    path: str
    """Folder of the checkpoint: local, a URL such as s3://bucket/folder, or on the Hub
    `owner/name[/folder]`."""
    revision: str | None = None
    """Branch, tag or commit of a Hub repository; null takes its main branch."""
