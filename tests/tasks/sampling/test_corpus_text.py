"""The text of a cache: what is looked up is what the lake holds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.lake import Lake
from storage.tables import CONTEXTS
from tasks.sampling import corpus_text as module
from tests.storage.toys import toy_rows
from tests.tasks.caches import LENGTH, Cache, drawn, sampling, steps, work

CACHE = drawn(1, 50, [0.5], period=20)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with the cache, in several parts."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake, shards=4)
    return lake


@pytest.mark.parametrize("batch", [1, 7, 2_048])
def test_it_is_what_the_lake_holds(lake: Lake, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids and strings of every token, however many sequences are read at a time."""
    monkeypatch.setattr(module, "BATCH", batch)
    rows = lake.read("tokens", lake.parts(steps()[0], "tokens"))
    result = work(lake, sampling()).placing().text
    assert (CACHE.sequences, LENGTH) == result.ids.shape
    assert rows["tokens"].to_pylist() == result.ids.tolist()
    strings = result.strings.take(pa.array(result.spellings.reshape(-1))).to_pylist()
    assert [item for row in rows["strings"].to_pylist() for item in row] == strings
    assert len(set(strings)) == len(result.strings)


@pytest.mark.parametrize("window", [3, 4, 16])
def test_windows_have_equal_hashes_where_their_tokens_are_equal(lake: Lake, window: int) -> None:
    """One row per window of the grid, one hash per text."""
    result = work(lake, sampling(window=window)).placing().text
    rows = result.windows.to_pylist()
    grid = [(s, slot * window) for s in range(CACHE.sequences) for slot in range(LENGTH // window)]
    assert grid == [(row["sequence"], row["start"]) for row in rows]
    assert [s * LENGTH + start for s, start in grid] == [row["origin"] for row in rows]
    texts = [tuple(result.ids[s, start : start + window]) for s, start in grid]
    pairs = set(zip(texts, (row["text"] for row in rows), strict=True))
    assert [texts.count(text) > 1 for text in texts] == [row["repeated"] for row in rows]
    assert len(pairs) == len(set(texts)) == len({row["text"] for row in rows}) == 20 * (LENGTH // window)


def test_contexts_get_their_tokens(lake: Lake) -> None:
    """Any window can be looked up, wherever it begins, any number of times."""
    result = work(lake, sampling(window=5)).placing().text
    bare = toy_rows(CONTEXTS, 3).drop_columns(["tokens", "strings"])
    places = {"sequence": [49, 0, 49], "start": [11, 0, 11]}
    for name, values in places.items():
        field = CONTEXTS.schema.field(name)
        bare = bare.set_column(bare.schema.get_field_index(name), field, pa.array(values, field.type))
    rows = result.with_tokens(bare)
    wanted = [
        [CACHE.token(s, start + i) for i in range(5)] for s, start in zip(*places.values(), strict=True)
    ]
    assert wanted == rows["tokens"].to_pylist()
    assert [[f"t{token}" for token in row] for row in wanted] == rows["strings"].to_pylist()


def test_no_context_is_no_error(lake: Lake) -> None:
    """A bucket whose features are all skipped has an empty table."""
    bare = CONTEXTS.empty().drop_columns(["tokens", "strings"])
    assert CONTEXTS.empty() == work(lake, sampling(window=5)).placing().text.with_tokens(bare).select(
        CONTEXTS.schema.names
    ).cast(CONTEXTS.schema)


def test_a_cache_is_read_once(lake: Lake, tmp_path: Path) -> None:
    """The same one is given to every bucket; another lake's or another window length's is another."""
    text = work(lake, sampling()).placing().text
    assert work(Lake(lake.uri), sampling()).placing().text is text
    other = Lake((tmp_path / "other").as_posix())
    Cache(30, 1, {}).write(other)
    assert (30, LENGTH) == work(other, sampling()).placing().text.ids.shape
    again = work(lake, sampling()).placing().text
    assert again is not text
    assert np.array_equal(again.ids, text.ids)
