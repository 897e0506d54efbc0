"""A plain-Python account of which activating contexts sampling promises, one feature and one window at a time."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from tasks.sampling.config import Sampling
from tests.tasks.caches import LENGTH, Cache

Place = tuple[int, int]
"""Sequence and start."""


@dataclass(frozen=True)
class Window:
    """A window in which a feature fires."""

    place: Place
    peak: float
    position: int
    """Where the peak is, from the start."""


def around(position: int, first: int, end: int, window: int) -> int:
    """Where the window around a position begins, inside of a stretch."""
    return max(first, min(position - window // 2, end - window))


def on_grid(fired: dict[tuple[int, int], float], window: int) -> list[Window]:
    """Every window of the grid that holds a firing."""
    result: dict[Place, list[tuple[int, float]]] = defaultdict(list)
    for (sequence, position), activation in sorted(fired.items()):
        if position < LENGTH // window * window:
            result[sequence, position // window * window].append((position, activation))
    return [_peaked(place, inside) for place, inside in result.items()]


def _peaked(place: Place, inside: Iterable[tuple[int, float]]) -> Window:
    position, peak = max(inside, key=lambda item: (item[1], -item[0]))
    return Window(place, peak, position - place[1])


def around_peaks(
    cache: Cache, fired: dict[tuple[int, int], float], window: int, *, apart: bool
) -> list[Window]:
    """Greedily: the strongest firing whose window holds nothing stronger and overlaps no window taken before."""
    taken: dict[int, list[int]] = defaultdict(list)
    result = []
    for (sequence, position), activation in sorted(fired.items(), key=lambda item: (-item[1], item[0])):
        stretches = cache.segments(sequence) if apart else [(0, LENGTH, 0)]
        first, end = next((f, e) for f, e, _ in stretches if f <= position < e)
        if end - first < window:
            continue
        start = around(position, first, end, window)
        inside = [(p, fired[sequence, p]) for p in range(start, start + window) if (sequence, p) in fired]
        if _peaked((sequence, start), inside).position != position - start:
            continue
        if all(abs(start - other) >= window for other in taken[sequence]):
            taken[sequence].append(start)
            result.append(Window((sequence, start), activation, position - start))
    return result


def text(cache: Cache, place: Place, window: int) -> tuple[int, ...]:
    """The tokens of a window."""
    return tuple(cache.token(place[0], place[1] + i) for i in range(window))


def ranked(cache: Cache, feature: int, asked: Sampling) -> list[Window]:
    """The windows that contexts are drawn from, the strongest first."""
    fired, apart = cache.firings.get(feature, {}), asked.apart == "document"
    placed = (
        on_grid(fired, asked.window)
        if asked.windows == "grid"
        else around_peaks(cache, fired, asked.window, apart=apart)
    )
    first: dict[tuple[int, ...], Window] = {}
    for window in sorted(placed, key=lambda item: item.place):
        first.setdefault(text(cache, window.place, asked.window), window)
    strongest = sorted(first.values(), key=lambda item: (-item.peak, item.place))
    return strongest[: asked.most_windows]


def deciles(windows: list[Window]) -> dict[Place, int]:
    """Tenth of each ranked window."""
    return {window.place: rank * 10 // len(windows) for rank, window in enumerate(windows)}


def documents(cache: Cache, place: Place, window: int) -> set[int]:
    """The documents that a window touches."""
    sequence, start = place
    return {d for first, end, d in cache.segments(sequence) if start < end and start + window > first}


def explaining(cache: Cache, windows: list[Window], asked: Sampling, seed: int) -> set[int]:
    """The documents that go to the explainer."""
    touched = [document for window in windows for document in documents(cache, window.place, asked.window)]
    order = sorted(set(touched), key=lambda document: (document_hash(document, seed), document))
    explain, score = asked.explain, 10 * asked.per_decile
    result, before = set(), 0
    for document in order[:-1]:
        if before * (explain + score) < len(touched) * explain:
            result.add(document)
        before += touched.count(document)
    return result


def sides(cache: Cache, windows: list[Window], asked: Sampling, seed: int) -> dict[Place, str]:
    """Who may be shown each window."""
    if asked.apart == "window":
        return {window.place: "either" for window in windows}
    ours = explaining(cache, windows, asked, seed)
    result = {}
    for window in windows:
        touched = documents(cache, window.place, asked.window)
        result[window.place] = "explain" if touched <= ours else "score" if not touched & ours else "neither"
    return result


def order(
    cache: Cache, feature: int, windows: list[Window], asked: Sampling, usable: list[Window], seed: int
) -> list[Window]:
    """The usable windows in the order in which the explainer gets them."""
    kind = asked.strategy.kind
    rest, top = (asked.strategy.rest, asked.strategy.top) if asked.strategy.kind == "mix" else (kind, 0)
    tenth, shuffled = deciles(windows), {item.place: hashed(feature, item.place, seed) for item in usable}
    rank = {item.place: place for place, item in enumerate(windows)}
    highest = max(cache.firings[feature].values())

    def in_turn(group_of: dict[Place, int]) -> dict[Place, float]:
        groups: dict[int, list[Place]] = defaultdict(list)
        for place in sorted(shuffled, key=lambda place: (shuffled[place], place)):
            groups[group_of[place]].append(place)
        return {place: i * 10 + group for group, places in groups.items() for i, place in enumerate(places)}

    if rest == "quantiles":
        turn = in_turn(tenth)
    elif rest == "values":
        turn = in_turn(
            {item.place: max(0, min(9, math.floor((1 - item.peak / highest) * 10))) for item in usable}
        )
    elif rest == "random":
        turn = shuffled
    elif rest == "importance":
        turn = {
            item.place: -math.log(((shuffled[item.place] >> 11) + 0.5) / 2**53) / item.peak for item in usable
        }
    else:
        turn = rank
    most = round(top * asked.explain)
    return sorted(usable, key=lambda item: (min(rank[item.place], most), turn[item.place], item.place))


def expected(cache: Cache, feature: int, asked: Sampling, seed: int) -> dict[str, list[Window]]:
    """The windows of each reader, in their order."""
    windows = ranked(cache, feature, asked)
    tenth, side = deciles(windows), sides(cache, windows, asked, seed)
    most = {}
    for decile in range(10):
        shared = sum(side[window.place] == "either" and tenth[window.place] == decile for window in windows)
        share = asked.explain // 10 + (decile < asked.explain % 10)
        kept = max(1, min(asked.per_decile, shared * asked.per_decile // (asked.per_decile + share)))
        most[decile] = shared - kept if shared else asked.explain
    usable = [window for window in windows if side[window.place] in {"either", "explain"}]
    explain: list[Window] = []
    for window in order(cache, feature, windows, asked, usable, seed):
        if len(explain) < asked.explain and most[tenth[window.place]] > 0:
            most[tenth[window.place]] -= 1
            explain.append(window)
    left = [
        window for window in windows if side[window.place] in {"either", "score"} and window not in explain
    ]
    left.sort(key=lambda window: (tenth[window.place], hashed(feature, window.place, seed), window.place))
    given: dict[int, list[Window]] = defaultdict(list)
    for window in left:
        if len(given[tenth[window.place]]) < asked.per_decile:
            given[tenth[window.place]].append(window)
    explain.sort(key=lambda window: tenth[window.place])
    return {"explain": explain, "score": [window for decile in range(10) for window in given[decile]]}


_CONNECTION = duckdb.connect()


def hashed(feature: int, place: Place, seed: int) -> int:
    """The key that shuffles a feature's windows."""
    return _mixed(_mixed(feature + _mixed(seed)) + place[0] * LENGTH + place[1])


def _mixed(value: int) -> int:
    """One draw of SplitMix64 (Steele, Lea and Flood 2014) from a state."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def document_hash(document: int, seed: int) -> int:
    """The key that orders documents."""
    row = _CONNECTION.execute("select hash(?::bigint, ?)", [document, seed]).fetchone()
    return int(row[0]) if row else 0
