"""Sparse-coder formats, one file each; adding one is a file and a name in `Source`."""

from typing import Annotated

from pydantic import Field

from tasks.coders.saelens import SAELens
from tasks.coders.sparsify import Sparsify

Source = Annotated[Sparsify | SAELens, Field(discriminator="kind")]
