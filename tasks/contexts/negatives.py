"""Where non-activating contexts come from. A new kind is one model here and one `storage/sql/negatives_<kind>.sql`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Random(BaseModel):
    """Windows of sequences in which the feature never fires (paper 3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["random"] = "random"
    n: int = Field(default=100, ge=1)
    """Contexts per feature."""


Negatives = Random
"""Every kind; becomes a union discriminated by `kind` with the second one."""
