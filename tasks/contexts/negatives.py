"""Where non-activating contexts come from. A new kind is one model here and one `storage/sql/negatives_<kind>.sql`.

In none of them does the feature fire. The mixture is what is asked of each kind as `n`; a kind that finds fewer gives
what it finds, and `samples` counts it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


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
