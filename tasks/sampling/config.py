"""Sampling options of a run: how many windows of a feature are drawn, how long they are, and for explainer or scorers.

A strategy puts a feature's windows in an order. The explainer gets the first of them, as far as each decile can spare
them: the scorers' contexts are stratified whatever the strategy (paper, 3.2 and table A6). A new strategy is one model
here and one `storage/sql/turns_<kind>.sql`; a new kind of negatives is one file in `tasks/sampling/negatives`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.fields import ConfigModel
from tasks.sampling import DECILES
from tasks.sampling.negatives import Negatives, OtherFeature, Silent


class Strategy(ConfigModel, frozen=True):
    """Base of the strategies."""


class Quantiles(Strategy, frozen=True):
    """Equal parts from each tenth of the windows by rank of their peak."""

    kind: Literal["quantiles"] = "quantiles"


class Values(Strategy, frozen=True):
    """Equal parts from each tenth of the way from the largest activation down to 0, as far as each holds windows."""

    kind: Literal["values"] = "values"


class AtRandom(Strategy, frozen=True):
    """Windows at random, all alike."""

    kind: Literal["random"] = "random"


class Top(Strategy, frozen=True):
    """The strongest windows."""

    kind: Literal["top"] = "top"


class Importance(Strategy, frozen=True):
    """Windows at random without replacement, each with a probability proportional to its peak."""

    kind: Literal["importance"] = "importance"


class Mix(Strategy, frozen=True):
    """The strongest windows, and others by another strategy."""

    kind: Literal["mix"] = "mix"
    top: float = Field(default=0.5, ge=0, le=1)
    """Share of the strongest."""
    rest: Literal["quantiles", "values", "random", "importance"] = "quantiles"
    """Where the others come from."""


Choice = Annotated[Quantiles | Values | AtRandom | Top | Importance | Mix, Field(discriminator="kind")]
"""Every strategy."""


def order(strategy: Choice) -> str:
    """The kind of strategy whose order of windows a strategy uses."""
    return strategy.rest if isinstance(strategy, Mix) else strategy.kind


def strongest(strategy: Choice, explain: int) -> int:
    """How many of `explain` contexts are the strongest windows, before those that a strategy's order gives."""
    return round(strategy.top * explain) if isinstance(strategy, Mix) else 0


FEWEST = 2 * DECILES
"""Windows that a feature must have: one of each tenth for the explainer and one for the scorers."""


class Sampling(ConfigModel, frozen=True):
    """Contexts per feature. Explain- and score-contexts never share a window, and no text is shown twice."""

    window: int = Field(default=32, ge=2)
    """Tokens per context; at most a sequence."""
    windows: Literal["grid", "peak"] = "grid"
    """Where contexts lie. `grid`: sequences cut from their beginning, what is left over dropped (the paper's). `peak`:
    around the feature's peaks, the strongest first, so that none overlap; negatives around another feature's peaks or
    around any token, so that where a window begins does not tell them."""
    explain: int = Field(default=40, ge=1)
    """Activating contexts for the explainer."""
    strategy: Choice = Quantiles()
    """Which windows the explainer gets."""
    per_decile: int = Field(default=10, ge=1)
    """Activating contexts for the scorers, from each decile."""
    negatives: tuple[Negatives, ...] = (Silent(), OtherFeature())
    """Non-activating contexts for the scorers, by kind."""
    contrast: tuple[Negatives, ...] = ()
    """Non-activating contexts for explainers that compare, by kind; no scorer is shown them."""
    min_firings: int = Field(default=200, ge=1)
    """Features that fire on fewer tokens are skipped (paper 3.1)."""
    most_windows: int | None = Field(default=None, ge=FEWEST)
    """Windows that are drawn from, the strongest; all if null (the paper's code takes 10,000 and so cuts the weak tail
    of frequent features)."""
    apart: Literal["auto", "document", "window"] = "auto"
    """What explainer and scorers never share: windows, or documents. `document` skips a feature that leaves one of them
    fewer than ten windows; `auto` keeps documents apart where that leaves both as many as they are asked for, and
    windows elsewhere. `samples.apart` says what a feature got."""

    @model_validator(mode="after")
    def _windows_can_be_placed(self) -> "Sampling":
        on_grid = [kind.kind for kind in (*self.contrast, *self.negatives) if kind.on_grid]
        if self.windows == "peak" and on_grid:
            msg = (
                f"windows: peak cannot place the windows of {on_grid[0]} with drawn: paper, which begin at one place "
                "and could be told from the feature's own by it; leave drawn out, or set windows: grid"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _each_kind_once(self) -> "Sampling":
        for key, chosen in (("negatives", self.negatives), ("contrast", self.contrast)):
            kinds = [kind.kind for kind in chosen]
            if len(set(kinds)) < len(kinds):
                msg = (
                    f"{key} has {', '.join(kinds)}; name each kind once, with the number of its contexts as n"
                )
                raise ValueError(msg)
        return self
