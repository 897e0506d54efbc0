"""What `features` says of each feature by its weights alone. Loads no torch."""

from pydantic import BaseModel, ConfigDict, Field


class Describing(BaseModel):
    """What decoder and encoder rows are compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    logits: int = Field(default=10, ge=0)
    """Tokens that a feature raises most, and lowers most; 0 leaves them out."""
    fold_norm: bool = True
    """Whether logits are seen through the gain of the norm before the unembedding."""
    neighbours: int = Field(default=10, ge=0)
    """Features with the nearest decoder rows; 0 leaves them out. They take a product of all rows with all rows:
    some hours of a CPU for a million features."""
    encoder_neighbours: int = Field(default=0, ge=0)
    """Features with the nearest encoder rows, at the same cost; 0 leaves them out."""
