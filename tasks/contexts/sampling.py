"""What is drawn of a feature: how many windows, how long, for whom."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.contexts.negatives import Negatives, Random
from tasks.contexts.strategies import Choice, Quantiles

DECILES = 10
"""Tenths of a feature's windows, by rank of their peak (paper 3.2)."""

FEWEST = 2 * DECILES
"""Windows that a feature must have: one of each tenth for each of both readers."""


class Sampling(BaseModel):
    """Contexts per feature. Explain- and score-contexts never share a window, and no text is shown twice."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    window: int = Field(default=32, ge=2)
    """Tokens per context; at most a sequence."""
    windows: Literal["grid", "peak"] = "grid"
    """Where activating contexts lie. `grid`: sequences cut from their beginning, what is left over dropped (the
    paper's). `peak`: around the feature's peaks, the strongest first, so that none overlap."""
    explain: int = Field(default=40, ge=1)
    """Activating contexts for the explainer."""
    strategy: Choice = Quantiles()
    """Which windows the explainer gets."""
    per_decile: int = Field(default=10, ge=1)
    """Activating contexts for the scorers, from each decile."""
    negatives: tuple[Negatives, ...] = (Random(),)
    """Non-activating contexts for the scorers, by kind."""
    contrast: tuple[Negatives, ...] = ()
    """Non-activating contexts for explainers that compare, by kind; no scorer is shown them."""
    min_firings: int = Field(default=200, ge=1)
    """Features that fire on fewer tokens are skipped (paper 3.1)."""
    most_windows: int | None = Field(default=None, ge=FEWEST)
    """Windows that are drawn from, the strongest; all if null (the paper's code takes 10,000 and so cuts the weak tail
    of frequent features)."""
    apart: Literal["window", "document"] = "window"
    """What explainer and scorers never share: windows, or documents."""

    @model_validator(mode="after")
    def _each_kind_once(self) -> "Sampling":
        for key, wanted in (("negatives", self.negatives), ("contrast", self.contrast)):
            kinds = [kind.kind for kind in wanted]
            if len(set(kinds)) < len(kinds):
                msg = (
                    f"{key} has {', '.join(kinds)}; name each kind once, with all that are wanted of it as n"
                )
                raise ValueError(msg)
        return self
