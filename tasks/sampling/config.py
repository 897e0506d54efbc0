"""What is drawn of a feature: how many windows, how long, for whom.

Where non-activating contexts come from. A new kind is one model here and one `storage/sql/negatives_<kind>.sql`.

In none of them does the feature fire. The mixture is what is asked of each kind as `n`; a kind that finds fewer gives
what it finds, and `samples` counts it.

Which activating contexts the explainer is shown. A new one is one model here and one `storage/sql/turns_<kind>.sql`.

A strategy puts a feature's windows in an order. The explainer gets the first of them, as far as each decile can spare
them: the scorers' contexts are stratified whatever the strategy (paper, 3.2 and table A6).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strategy(BaseModel):
    """Base of the strategies."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Quantiles(Strategy):
    """Equal parts from each tenth of the windows by rank of their peak."""

    kind: Literal["quantiles"] = "quantiles"


class Values(Strategy):
    """Equal parts from each tenth of the way from the largest activation down to 0, as far as each holds windows."""

    kind: Literal["values"] = "values"


class AtRandom(Strategy):
    """Windows at random, all alike."""

    kind: Literal["random"] = "random"


class Top(Strategy):
    """The strongest windows."""

    kind: Literal["top"] = "top"


class Importance(Strategy):
    """Windows at random without replacement, each with a probability proportional to its peak."""

    kind: Literal["importance"] = "importance"


class Mix(Strategy):
    """The strongest windows, and others by another strategy."""

    kind: Literal["mix"] = "mix"
    top: float = Field(default=0.5, ge=0, le=1)
    """Share of the strongest."""
    rest: Literal["quantiles", "values", "random", "importance"] = "quantiles"
    """Where the others come from."""


Choice = Annotated[Quantiles | Values | AtRandom | Top | Importance | Mix, Field(discriminator="kind")]
"""Every strategy."""


def order(strategy: Choice) -> str:
    """The kind whose order a strategy goes by."""
    return strategy.rest if isinstance(strategy, Mix) else strategy.kind


def strongest(strategy: Choice, explain: int) -> int:
    """How many of `explain` contexts a strategy takes from the strongest before it goes by its order."""
    return round(strategy.top * explain) if isinstance(strategy, Mix) else 0


class Kind(BaseModel, frozen=True):
    """What every kind is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    n: int = Field(default=100, ge=1)
    """Contexts per feature."""


class Searched(Kind, frozen=True):
    """A kind whose windows have to be looked for in the cache."""

    search: int = Field(default=16_384, ge=1)
    """Sequences that are searched at most, in whole blocks of 256 that are drawn at random; bounds the work per bucket
    of features, whatever the size of the cache."""


class Random(Kind, frozen=True):
    """Windows of sequences in which the feature never fires (paper 3.2)."""

    kind: Literal["random"] = "random"


class Silent(Kind, frozen=True):
    """Windows in which the feature is silent, of sequences in which it may fire elsewhere: weaker than `random`."""

    kind: Literal["silent"] = "silent"


class SameToken(Searched, frozen=True):
    """Silent windows with a token on which the feature fires elsewhere: the token alone doesn't tell, the context does.

    Tokens come in proportion to how often the feature fires on them.
    """

    kind: Literal["same_token"] = "same_token"
    tokens: int = Field(default=8, ge=1)
    """Tokens that are looked for: those on which the feature fires most."""


class Cooccurring(Searched, frozen=True):
    """Silent windows in which a feature fires that often fires on the same tokens, the nearest by Jaccard index first.

    Of each neighbour's windows some are drawn at random. The strongest would differ from a feature's own, which are of
    all strengths, in more than what the explanation says: they often lie at the beginning of a text.
    """

    kind: Literal["cooccurring"] = "cooccurring"
    neighbours: int = Field(default=10, ge=1)
    """Nearest features."""


class Similar(Searched, frozen=True):
    """Silent windows in which a feature with a near decoder or encoder row fires, the nearest by cosine first.

    As with `cooccurring`, each neighbour's windows are drawn at random (paper D.5, by decoder rows).
    """

    kind: Literal["similar"] = "similar"
    by: Literal["decoder", "encoder"] = "decoder"
    """Whose rows are compared."""
    neighbours: int = Field(default=10, ge=1)
    """Nearest features; at most as many as `describe.neighbours`, or `describe.encoder_neighbours`, keeps."""


class SimilarText(Searched, frozen=True):
    """Silent windows whose text is nearest to what the explainer is shown, by sentence embeddings.

    The cosine of a window's vector with the mean of those of the feature's activating contexts for the explainer
    decides, and every window that is searched is compared. Needs `pip install 'gloss-sae[embeddings]'`.
    """

    kind: Literal["similar_text"] = "similar_text"
    model: str = Field(default="sentence-transformers/all-MiniLM-L6-v2", min_length=1)
    """Model of the library sentence-transformers: local folder, name on the Hub, or `package:NAME` for an installed
    package that carries one; weights in safetensors only. Each window that is searched passes through it once."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null takes the main branch."""
    nearest: int = Field(default=1_000, ge=1)
    """Silent windows that are looked at, the nearest; those whose text was shown already are passed over, and those
    that share a document with what the explainer is shown where documents are kept apart."""

    @model_validator(mode="after")
    def _looks_at_enough(self) -> "SimilarText":
        if self.nearest < self.n:
            msg = f"nearest {self.nearest} must be at least n {self.n}: no more are given than are looked at"
            raise ValueError(msg)
        return self


Negatives = Annotated[
    Random | Silent | SameToken | Cooccurring | Similar | SimilarText, Field(discriminator="kind")
]
"""Every kind."""


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
