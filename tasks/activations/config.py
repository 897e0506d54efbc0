"""Config of a sparse coder (its checkpoint and site), and of what `features` derives from weights. Imports no torch."""

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from storage.errors import WrongRequest
from tasks.activations.sites import Site
from tasks.coders import Source
from tasks.coders.base import DeclaredSite
from tasks.fields import LONGEST_NAME, ConfigModel


class Describing(ConfigModel, frozen=True):
    """What decoder and encoder rows are compared with."""

    logits: int = Field(default=10, ge=0)
    """Tokens that a feature raises most, and lowers most; 0 leaves them out."""
    fold_norm: bool = True
    """Whether logits are seen through the gain of the norm before the unembedding."""
    neighbours: int = Field(default=10, ge=0)
    """Features with the nearest decoder rows; 0 leaves them out. They take a product of all rows with all rows:
    some hours of a CPU for a million features."""
    encoder_neighbours: int = Field(default=0, ge=0)
    """Features with the nearest encoder rows, at the same cost; 0 leaves them out."""


class Coder(ConfigModel, frozen=True):
    """One sparse coder and the site it is hooked to."""

    site: str | None = None
    """Module path in the subject model, `layers.5` or `layers.5.mlp`; `.input` for a module's input; or the name
    that the coder's format has for it, `blocks.5.hook_resid_post`. `:centred` after it takes the mean over d away;
    `:normalised` after a norm is what it gives before its gain. Null takes the site that the checkpoint names."""
    source: Source
    """Where its weights are and in which format."""
    name: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=LONGEST_NAME)
    """What the tables call it; made from site and format when none is given."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What its encoder's products are computed in; half precision is faster on a GPU, and features whose
    pre-activation lies near their threshold may then fire or not."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("name") and isinstance(data.get("source"), dict):
            source = data["source"]
            where = data.get("site") or str(source.get("path") or "").rstrip("/").rsplit("/", 1)[-1]
            made = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{where}-{source.get('kind')}")
            return {**data, "name": made.lstrip("-._")}
        return data

    @model_validator(mode="after")
    def _has_a_site(self) -> "Coder":
        try:
            if self.site is not None:
                Site.parse(self.site)
        except WrongRequest as error:
            raise ValueError(str(error)) from error
        return self

    def named_site(self) -> DeclaredSite | None:
        """Its site from the config, else from its checkpoint, as it is written there; None if neither names one."""
        return DeclaredSite(self.site) if self.site is not None else self.source.declared_site()
