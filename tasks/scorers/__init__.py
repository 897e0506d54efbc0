"""Every scorer. A new one is one file, its prompt file and one line here."""

from typing import Annotated

from pydantic import Field

from tasks.scorers.detection import Detection
from tasks.scorers.fuzzing import Fuzzing

Scorer = Annotated[Detection | Fuzzing, Field(discriminator="kind")]
