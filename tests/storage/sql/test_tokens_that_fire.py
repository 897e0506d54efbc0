"""On how many tokens of a cache a feature may fire, by position."""

from pathlib import Path

import pytest

from storage import query
from storage.lake import Lake
from storage.layout import Range
from storage.tables import TOKENS
from tests.storage.toys import step, value

ROWS = [[0, 5, 6, 0], [0, 7, 0, 0]]


@pytest.mark.parametrize(
    ("bos", "keep", "expected"),
    [
        (0, False, [0, 2, 1, 0]),
        (0, True, [2, 2, 2, 2]),
        (None, False, [0, 2, 2, 2]),
        (None, True, [2, 2, 2, 2]),
    ],
)
def test_left_out_tokens_are_not_counted(
    tmp_path: Path, bos: int | None, *, keep: bool, expected: list[int]
) -> None:
    """Every beginning-of-sequence token is left out, also where it separates documents; else the first positions."""
    lake, tokens = Lake(str(tmp_path)), step("tokens")
    filled = {field.name: value(field.type) for field in TOKENS.schema}
    rows = [filled | {"sequence": i, "tokens": ids} for i, ids in enumerate(ROWS)]
    lake.write(TOKENS, tokens.part("tokens", Range(0, 2)), TOKENS.rows(rows))
    lake.commit(tokens, [Range(0, 2)])

    with lake.connect() as connection:
        result = query.records(
            connection, "tokens_that_fire", tokens=lake.parts(tokens, "tokens"), bos=bos, keep_bos=keep
        )

    assert [{"position": position, "tokens": n} for position, n in enumerate(expected)] == result
