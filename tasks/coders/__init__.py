"""Sparse-coder formats, one file each; a new one is one file and one line in `tasks/coders/formats.py`."""

from typing import Annotated

from pydantic import Field

from tasks.coders.auto import Auto
from tasks.coders.formats import Format

Source = Annotated[Format | Auto, Field(discriminator="kind")]
