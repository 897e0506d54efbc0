"""What is drawn of a feature: how many windows, how long, for whom."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.contexts.negatives import Negatives, Random

DECILES = 10
"""Tenths of a feature's windows, by rank of their peak (paper 3.2)."""


class Sampling(BaseModel):
    """Contexts per feature. Explain- and score-contexts never share a window."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    window: int = Field(default=32, ge=2)
    """Tokens per context; must divide the sequence."""
    explain: int = Field(default=40, ge=1)
    """Activating contexts for the explainer, in equal parts from each decile."""
    per_decile: int = Field(default=10, ge=1)
    """Activating contexts for the scorers, from each decile."""
    negatives: tuple[Negatives, ...] = (Random(),)
    """Non-activating contexts for the scorers, by kind."""
    min_firings: int = Field(default=200, ge=1)
    """Features that fire on fewer tokens are skipped (paper 3.1)."""

    @model_validator(mode="after")
    def _each_kind_once(self) -> "Sampling":
        kinds = [kind.kind for kind in self.negatives]
        if len(set(kinds)) < len(kinds):
            msg = (
                f"negatives has {', '.join(kinds)}; name each kind once, with all that are wanted of it as n"
            )
            raise ValueError(msg)
        return self
