"""The control of scorers that need no explanation: whose contexts stand in the place of whose."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts.context import Context, Feature, context
from tasks.llm.request import RequestKey
from tasks.scorers.intruder import Intruder
from tasks.scorers.mixed import MAX_SOURCES, MIN_SOURCES, mixed, sources


def active(feature: int, per_decile: int = 10) -> list[Context]:
    """Activating contexts of a feature, in ten deciles."""
    return [
        replace(context(f"f{feature}:9| c{number}", number), decile=number // per_decile)
        for number in range(10 * per_decile)
    ]


def feature(number: int) -> Feature:
    silent = [context(f"s{place}| and", 200 + place) for place in range(40)]
    return Feature(number, 9.0, (*active(number), *silent))


@given(st.lists(st.integers(0, 99), unique=True, max_size=30), st.integers(0, 99))
def test_the_next_features_replace_one(order: list[int], number: int) -> None:
    """At most ten, none twice and never the feature itself; none where a question would have two of one."""
    others = sources({feature: place for place, feature in enumerate(order)}, number)
    assert number not in others
    assert len(set(others)) == len(others)
    enough = number in order and len(order) > MIN_SOURCES
    assert (min(MAX_SOURCES, len(order) - 1) if enough else 0) == len(others)
    assert set(others) <= set(order)


def test_each_context_keeps_number_decile_and_kind() -> None:
    """Those of a decile are of different features, of the same decile; silent ones stay."""
    own = feature(0)
    result = mixed(own, [active(other) for other in range(1, 11)])
    assert [(item.context, item.decile, item.kind) for item in own.contexts] == [
        (item.context, item.decile, item.kind) for item in result.contexts
    ]
    assert own.contexts[100:] == result.contexts[100:]
    for decile in range(10):
        there = [item for item in result.contexts if item.decile == decile]
        assert {f"f{other}" for other in range(1, 11)} == {item.strings[0] for item in there}
        assert all(int(item.strings[1][2:]) // 10 == decile for item in there)
    assert 100 == len({item.strings for item in result.contexts[:100]})


def test_a_decile_that_another_lacks_is_lent_from_any() -> None:
    """Its contexts take turns."""
    few = active(1, 1)[:2]
    result = mixed(feature(0), [few, *(active(other) for other in range(2, 5))])
    assert {"f1", "f2", "f3", "f4"} == {item.strings[0] for item in result.contexts[90:100]}


def test_the_four_of_an_intruder_are_of_four_features() -> None:
    """Each marked where its own feature fires."""
    result = mixed(feature(0), [active(other) for other in range(1, 11)])
    requests = Intruder(kind="intruder", reader="r").requests(RequestKey(0, 0, "mixed"), "", result)
    assert 20 == len(requests)
    for request in requests:
        lines = [line for line in request.messages[-1].text.split("\n") if ": <<f" in line]
        assert 4 == len({line.split(": ")[1].split(">>")[0] for line in lines})
