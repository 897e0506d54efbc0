"""What the tasks of the cache ask for, and how often."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from storage.tables import TOKENS
from tasks import cache
from tasks.activations.coder import Coder
from tasks.activations.corpus import Corpus
from tasks.activations.describing import Describing
from tasks.activations.subject import Subject
from tasks.cache import CacheWork
from tasks.coders.neurons import Neurons
from tests.storage.toys import step, value

ROWS = [[0, 5, 6, 0], [0, 7, 0, 0]]


def packed(lake: Lake, tokens: Step, rows: Sequence[Sequence[int]]) -> Step:
    """A committed step of tokens."""
    filled = {field.name: value(field.type) for field in TOKENS.schema}
    part = Range(0, len(rows))
    found = [filled | {"sequence": i, "tokens": ids} for i, ids in enumerate(rows)]
    lake.write(TOKENS, tokens.part("tokens", part), TOKENS.rows(found))
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
    cache._can_fire.cache_clear()
    yield asked
    cache._can_fire.cache_clear()


def test_tokens_that_can_fire_are_counted_once(tmp_path: Path, scans: list[str]) -> None:
    """The parts of `features` of one cache read all tokens once, also where their step was pickled meanwhile."""
    lake = Lake(str(tmp_path))
    packed(lake, step("tokens"), ROWS)

    found = [cache._can_fire(lake.uri, step("tokens"), 0, keep_bos=False) for _ in range(3)]

    assert [3, 3, 3] == found
    assert ["tokens_that_fire"] == scans


def test_other_tokens_are_counted_anew(tmp_path: Path, scans: list[str]) -> None:
    """Those of another lake, of another step, and with another choice of what may fire."""
    lake, other = Lake(str(tmp_path / "one")), Lake(str(tmp_path / "other"))
    short, long = step("tokens"), step("tokens", extent={"tokens": 12})
    packed(lake, short, ROWS)
    packed(lake, long, [*ROWS, [0, 1, 2, 3]])
    packed(other, short, ROWS[:1])

    found = [
        cache._can_fire(at.uri, tokens, bos, keep_bos=keep)
        for at, tokens, bos, keep in (
            (lake, short, 0, False),
            (lake, long, 0, False),
            (other, short, 0, False),
            (lake, short, None, False),
            (lake, short, 0, True),
        )
    ]

    assert [3, 6, 2, 6, 8] == found
    assert 5 == len(scans)


def work(*activations: Step) -> CacheWork:
    """Work with neurons whose firings are some steps."""
    return CacheWork(
        lake=Lake("nowhere"),
        subject=Subject(model="nowhere"),
        corpus=Corpus(path="none", tokens=8, sequence=4),
        shard=1,
        tokens=step("tokens"),
        describing=Describing(),
        batch=1,
        coders=tuple(
            (Coder(site="layers.0", source=Neurons(), name=fired.name), fired, fired) for fired in activations
        ),
    )


def test_a_work_is_marked_by_what_its_coders_are() -> None:
    """Other contents under the same name make another mark; more tokens of the same corpus do not."""
    mine = step(extends=True)

    assert work(mine).mark == work(step(extends=True, extent={"tokens": 99})).mark
    assert work(mine).mark != work(step(extends=True, config={"coder": "retrained"})).mark
    assert work(mine).mark != work(mine, step(name="another", extends=True)).mark
