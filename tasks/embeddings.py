"""Prefect task that embeds the windows of a block of sequences: tokens -> embeddings."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step, overlapping
from storage.tables import EMBEDDINGS
from tasks.llm.sentence_transformers import SentenceModel
from tasks.retries import unless_refused


@dataclass(frozen=True)
class EmbedWork:
    """Inputs of embedding windows, the same for each block."""

    lake: Lake
    tokens: Step
    step: Step
    """Its config has the model's identity as `model`."""
    model: SentenceModel
    window: int
    sequence: int
    """Tokens per sequence."""


@task(
    name="embed",
    task_run_name="embed {part.first}-{part.end}",
    retries=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def embed_windows(work: EmbedWork, part: Range) -> int:
    """Embed the windows of a block of sequences; returns the number of vectors. Equal texts are embedded once."""
    with work.lake.connect(threads=1) as connection:
        rows = query.rows(
            connection,
            "embeddings_texts",
            tokens=overlapping(work.lake.parts(work.tokens, "tokens"), part),
            window=work.window,
            slots=work.sequence // work.window,
            **part._asdict(),
        )
    texts = rows["text"].combine_chunks().dictionary_encode()
    units = work.model.units(texts.dictionary.to_pylist())[texts.indices.to_numpy()]
    ends = pa.array(np.arange(0, units.size + 1, units.shape[1], dtype=np.int32))
    columns = {
        "model": pa.repeat(str(work.step.config["model"]), len(units)),
        "vector": pa.ListArray.from_arrays(ends, pa.array(units.reshape(-1))),
    }
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    work.lake.write(EMBEDDINGS, work.step.part("embeddings", part), rows)
    return len(units)
