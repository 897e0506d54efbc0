"""Where explanations that somebody else wrote are kept; a new format is a file here and a name in `FORMATS`."""

from tasks.explainers.imported import delphi, jsonl, neuronpedia, parquet
from tasks.explainers.imported.base import Format

FORMATS: dict[str, Format] = {
    "parquet": parquet,
    "jsonl": jsonl,
    "neuronpedia": neuronpedia,
    "delphi": delphi,
}
