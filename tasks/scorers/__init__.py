"""Every scorer. A new one is one file, its prompt file and a line or two here."""

from typing import Annotated

from pydantic import Field

from tasks.scorers.detection import Detection
from tasks.scorers.discrimination import Discrimination
from tasks.scorers.embedding import Embedding
from tasks.scorers.example_embedding import ExampleEmbedding
from tasks.scorers.fuzzing import Fuzzing
from tasks.scorers.intruder import Intruder
from tasks.scorers.saebench import SAEBench
from tasks.scorers.simulation import Simulation
from tasks.scorers.surprisal import Surprisal

Scorer = Annotated[
    Detection
    | Discrimination
    | Embedding
    | ExampleEmbedding
    | Fuzzing
    | Intruder
    | SAEBench
    | Simulation
    | Surprisal,
    Field(discriminator="kind"),
]
