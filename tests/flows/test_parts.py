"""Several processes make one step without a word between them."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from flows.parts import unwritten
from flows.progress import Bar
from flows.terminal import console
from storage.lake import Lake
from storage.layout import Range, ranges
from storage.tables import ACTIVATIONS
from tests.storage.toys import firings, step

STEP = step()


def _bar(total: int) -> Bar:
    return Bar("toy", total, console(quiet=True))


def _write(lake: Lake, part: Range) -> None:
    lake.write(ACTIVATIONS, STEP.part("activations", part), firings(1))


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_parts_are_made_once_by_whoever_comes_first(data: st.DataObject, tmp_path_factory) -> None:
    """Of processes that write a part before they ask for the next, none takes a part that is there."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    parts = ranges(data.draw(st.integers(0, 12)), 1)
    crowd = [unwritten(lake, (STEP,), parts, _bar(len(parts))) for _ in range(3)]
    taken: list[Range] = []
    while crowd:
        process = data.draw(st.sampled_from(crowd))
        part = next(process, None)
        if part is None:
            crowd.remove(process)
        else:
            taken.append(part)
            _write(lake, part)

    assert parts == sorted(taken)


def test_what_others_wrote_counts_as_done(tmp_path: Path) -> None:
    """The bar reaches its end also where another process made some of the parts."""
    lake, parts = Lake(str(tmp_path)), ranges(4, 1)
    _write(lake, parts[2])
    bar = _bar(4)

    taken = list(unwritten(lake, (STEP,), parts, bar))

    assert {parts[0], parts[1], parts[3]} == set(taken)
    assert 1 == bar.done


def test_a_part_that_one_step_lacks_is_taken(tmp_path: Path) -> None:
    """A shard is left out only when every coder has its firings."""
    lake = Lake(str(tmp_path))
    _write(lake, Range(0, 1))

    assert [Range(0, 1)] == list(unwritten(lake, (STEP, step(name="other")), [Range(0, 1)], _bar(1)))
