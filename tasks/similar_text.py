"""Candidates of the kind `similar_text`: silent windows by how near their text is to those shown to the explainer.

One index serves all features of a cache: the vectors of the searched windows, which are all compared.
"""

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from tasks import searches
from tasks.activations.sentences import SentenceModel
from tasks.contexts.nearest import Nearest, groups, mean, nearest, places, units
from tasks.contexts.negatives import SimilarText
from tasks.sample_work import SampleWork
from tasks.text import text
from tasks.vectors import Vectors, vectors


def offer(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: SimilarText,
    searched: Sequence[int],
    asked: Sequence[int],
) -> None:
    """Make the temporary table `candidates` for the features asked for, out of the searched blocks.

    Needs `drawn` with what the explainer is shown, and `fired`.
    """
    among = vectors(work, work.embeddings[kind])
    shown = query.rows(connection, "negatives_similar_text_shown", asked=asked)
    fired = query.rows(
        connection,
        "negatives_similar_text_fired",
        asked=asked,
        length=work.sequence,
        blocks=list(searched),
        block=searches.BLOCK,
    )
    wanted = _wanted(work, kind, among, shown)
    there, rows = places(fired["origin"].to_numpy(), among.origins)
    left_out = groups(wanted, fired["feature"].to_numpy()[there], rows[there])
    found = nearest(np.array([*wanted.values()]), among.units, left_out, kind.nearest)
    connection.register("texts_nearby", _table(work, among, dict(zip(wanted, found, strict=True))))
    query.run(connection, "negatives_similar_text")
    connection.unregister("texts_nearby")


def _wanted(work: SampleWork, kind: SimilarText, among: Vectors, shown: pa.Table) -> Mapping[int, np.ndarray]:
    """By feature the mean of the vectors of what the explainer is shown: one that is not searched is made for it."""
    origins = shown["sequence"].to_numpy() * work.sequence + shown["start"].to_numpy()
    model, found = SentenceModel(kind.model, kind.revision), {}
    there, rows = places(origins, among.origins)
    others = iter(_texts(work, shown.filter(pa.array(~there))))
    of = shown["feature"].to_numpy()
    features = np.unique(of).tolist()
    for feature, mine in zip(features, groups(features, of, np.arange(len(of))), strict=True):
        has = there[mine]
        known = [among.units.rows[rows[mine[has]]]]
        if not has.all():
            # A feature's texts by themselves: in other company they would get other roundings.
            known.append(model.units([next(others) for _ in mine[~has]]))
        middle = mean(units(np.concatenate(known)))
        if middle is not None:
            found[feature] = middle
    return found


def _texts(work: SampleWork, contexts: pa.Table) -> list[str]:
    if not contexts.num_rows:
        return []
    spelled = text(work).spelled(contexts, work.sampling.window)
    return ["".join(strings) for strings in spelled["strings"].to_pylist()]


def _table(work: SampleWork, among: Vectors, found: Mapping[int, Nearest]) -> pa.Table:
    """One row per feature and window, the nearest first, with its turn and its distance."""
    sizes = [len(near.rows) for near in found.values()]
    rows = np.concatenate([np.zeros(0, np.int64), *(near.rows for near in found.values())])
    sequence, start = np.divmod(among.origins[rows], work.sequence)
    columns = {
        "feature": np.repeat(np.array([*found], np.int32), sizes),
        "sequence": sequence,
        "start": start.astype(np.int32),
        "turn": np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)]),
        "distance": np.concatenate([np.zeros(0), *(near.distance for near in found.values())]),
    }
    return pa.table({name: pa.array(values) for name, values in columns.items()})
