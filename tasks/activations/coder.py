"""A sparse coder as a run's config names it: a checkpoint and the site that it is hooked to. Loads no torch."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from storage.errors import WrongRequest
from tasks.activations.sites import Site
from tasks.coders import Source


class Coder(BaseModel):
    """One sparse coder and the site it is hooked to."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    site: str
    """Module path in the subject model, `layers.5` or `layers.5.mlp`; `.input` for a module's input."""
    source: Source
    """Where its weights are and in which format."""
    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    """What the tables call it; made from site and format when none is given."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("name") and isinstance(data.get("source"), dict):
            made = f"{data.get('site')}-{data['source'].get('kind')}"
            return {**data, "name": re.sub(r"[^A-Za-z0-9._-]+", "-", made)}
        return data

    @model_validator(mode="after")
    def _has_a_site(self) -> "Coder":
        try:
            Site.parse(self.site)
        except WrongRequest as error:
            raise ValueError(str(error)) from error
        return self
