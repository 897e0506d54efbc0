"""Types of config keys that several models share; their bounds are in the JSON schema, so that forms show them."""

from typing import Annotated

from pydantic import Field

LARGEST_SEED = 2**63 - 1
"""What servers, DuckDB and Parquet take: a signed number of 64 bits."""

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""Seeds random choices."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names become file names and column values."""
LONGEST_NAME = 200
"""Characters, one byte each; a file name may have 255 bytes, and a suffix is added."""

Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
"""What a file is called."""
ComponentName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ._-]*[A-Za-z0-9._-])?$", max_length=LONGEST_NAME)
]
"""What the tables call an explainer or a scorer; it may have spaces inside."""


class Flag(str):
    """A boolean of a config as a word, so that it is not taken for a number."""

    __slots__ = ()

    def __repr__(self) -> str:
        """As YAML has it."""
        return str(self)


def flagged(value: object) -> object:
    """A value that may be a boolean beside a text, as it was given."""
    return value == "true" if isinstance(value, Flag) else value
