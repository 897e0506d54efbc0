"""What is counted once for all features of a cache."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from storage import query
from storage.feature_statistics import tokens_that_can_fire
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import TOKENS
from tests.storage.toys import step, value

ROWS = [[0, 5, 6, 0], [0, 7, 0, 0]]


def packed(lake: Lake, tokens: Step, rows: Sequence[Sequence[int]]) -> Step:
    """A committed step of tokens."""
    filled = {field.name: value(field.type) for field in TOKENS.schema}
    part = Range(0, len(rows))
    token_rows = [filled | {"sequence": i, "tokens": ids} for i, ids in enumerate(rows)]
    lake.write(TOKENS, tokens.part("tokens", part), TOKENS.rows(token_rows))
    lake.commit(tokens, [part])
    return tokens


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that are run, in a process that has counted nothing yet."""
    asked: list[str] = []
    records = query.records

    def noting(connection: object, name: str, **parameters: object) -> Sequence[Mapping[str, object]]:
        asked.append(name)
        return records(connection, name, **parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(query, "records", noting)
    tokens_that_can_fire.cache_clear()
    yield asked
    tokens_that_can_fire.cache_clear()


def test_tokens_that_can_fire_are_counted_once(tmp_path: Path, scans: list[str]) -> None:
    """The parts of `features` of one cache read all tokens once, also where their step was pickled meanwhile."""
    lake = Lake(str(tmp_path))
    packed(lake, step("tokens"), ROWS)

    result = [tokens_that_can_fire(lake.uri, step("tokens"), 0, keep_bos=False) for _ in range(3)]

    assert [(0, 2, 1, 0)] * 3 == result
    assert ["tokens_that_fire"] == scans


def test_other_tokens_are_counted_anew(tmp_path: Path, scans: list[str]) -> None:
    """Those of another lake, of another step, and with another choice of what may fire."""
    lake, other = Lake(str(tmp_path / "one")), Lake(str(tmp_path / "other"))
    short, long = step("tokens"), step("tokens", extent={"tokens": 12})
    packed(lake, short, ROWS)
    packed(lake, long, [*ROWS, [0, 1, 2, 3]])
    packed(other, short, ROWS[:1])

    result = [
        tokens_that_can_fire(at.uri, tokens, bos, keep_bos=keep)
        for at, tokens, bos, keep in (
            (lake, short, 0, False),
            (lake, long, 0, False),
            (other, short, 0, False),
            (lake, short, None, False),
            (lake, short, 0, True),
        )
    ]

    assert [3, 6, 2, 6, 8] == [sum(can_fire) for can_fire in result]
    assert 5 == len(scans)
