"""Which windows the explainer and the scorers get, against the plain-Python account of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.lake import Lake
from storage.layout import Range
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import Random, Silent
from tests.tasks import account
from tests.tasks.caches import LENGTH, Cache, drawn, sample, sampling, steps, work

BOUNDED = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

CACHES = st.builds(
    drawn,
    st.integers(0, 10**6),
    st.integers(20, 90),
    st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), min_size=1, max_size=3),
    period=st.sampled_from([None, None, 7, 40]),
    documents=st.lists(st.integers(1, 70), min_size=1, max_size=5).map(tuple),
)
STRATEGIES = st.one_of(
    st.sampled_from(["quantiles", "values", "random", "top", "importance"]).map(lambda kind: {"kind": kind}),
    st.builds(
        lambda top, rest: {"kind": "mix", "top": top, "rest": rest},
        st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        st.sampled_from(["quantiles", "values", "random", "importance"]),
    ),
)
SAMPLINGS = st.builds(
    sampling,
    window=st.sampled_from([2, 3, 4, 5, 8, 16]),
    explain=st.integers(1, 60),
    per_decile=st.integers(1, 5),
    negatives=st.integers(1, 8),
    min_firings=st.just(1),
    strategy=STRATEGIES,
    windows=st.sampled_from(["grid", "peak"]),
    most_windows=st.sampled_from([None, None, 20, 45]),
    apart=st.sampled_from(["window", "document"]),
)

Row = dict


Tried = tuple[dict[int, list[Row]], dict[int, Row]]
"""Contexts and samples by feature."""


def tried(cache: Cache, asked: Sampling, seed: int = 22) -> Tried:
    """What is drawn from a cache."""
    (result,) = tried_all(cache, [(asked, seed)])
    return result


def tried_all(cache: Cache, all_asked: Iterable[tuple[Sampling, int]]) -> list[Tried]:
    """What is drawn from a cache, which is written once, with each sampling and seed."""
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        cache.write(lake)
        return [_tried(lake, cache.width, asked, seed) for asked, seed in all_asked]


def _tried(lake: Lake, width: int, asked: Sampling, seed: int) -> Tried:
    part = Range(0, width)
    sample(work(lake, asked, seed), [part], range(width))
    step = steps()[-1]
    lake.commit(step, [part])
    contexts = lake.read("contexts", lake.parts(step, "contexts")).to_pylist()
    samples = lake.read("samples", lake.parts(step, "samples")).to_pylist()
    result: dict[int, list[Row]] = defaultdict(list)
    for row in contexts:
        result[row["feature"]].append(row)
    return result, {row["feature"]: row for row in samples}


def shown(rows: list[Row], role: str) -> list[tuple[tuple[int, int], float, int, int]]:
    """Place, peak, its position and decile of a feature's activating contexts of a role, in their order."""
    return [
        ((row["sequence"], row["start"]), row["peak"], row["peak_position"], row["decile"])
        for row in rows
        if row["role"] == role and row["kind"] == "activating"
    ]


@given(CACHES, SAMPLINGS, st.integers(0, 99))
@BOUNDED
def test_readers_get_the_windows_of_the_account(cache: Cache, asked: Sampling, seed: int) -> None:
    """Every strategy, geometry, cap and split draws the very windows, in the very order, that plain Python does."""
    contexts, samples = tried(cache, asked, seed)
    for feature, told in samples.items():
        windows = account.ranked(cache, feature, asked)
        assert len(windows) == told["candidates"]
        if told["status"] == "sampled":
            tenth = account.deciles(windows)
            for role, wanted in account.expected(cache, feature, asked, seed).items():
                expected = [(item.place, item.peak, item.position, tenth[item.place]) for item in wanted]
                assert expected == shown(contexts[feature], role)


@given(CACHES, SAMPLINGS)
@BOUNDED
def test_counts_of_windows_add_up(cache: Cache, asked: Sampling) -> None:
    """Windows that are drawn from, repeated and left out are all there are; a feature short of them says so."""
    _, samples = tried(cache, asked)
    for feature, told in samples.items():
        everything = asked.model_copy(update={"most_windows": None})
        different = account.ranked(cache, feature, everything)
        fired = cache.firings.get(feature, {})
        grid = account.on_grid(fired, asked.window)
        apart = asked.apart == "document"
        placed = (
            grid if asked.windows == "grid" else account.around_peaks(cache, fired, asked.window, apart=apart)
        )
        assert len(grid) == told["windows"]
        assert len(placed) == told["candidates"] + told["repeated"] + told["left_out"]
        assert len(placed) - len(different) == told["repeated"]
        assert max(0, len(different) - (asked.most_windows or len(different))) == told["left_out"]
        if told["candidates"] < 20:
            assert "skipped" == told["status"]
            assert "20" in told["reason"] or "never fires" in told["reason"]


@given(CACHES, SAMPLINGS)
@BOUNDED
def test_nothing_is_shown_twice(cache: Cache, asked: Sampling) -> None:
    """No two contexts of a feature have the same tokens; no two windows around peaks, and none of the grid, overlap."""
    contexts, _ = tried(cache, asked)
    for rows in contexts.values():
        assert 1 == max(Counter(tuple(row["tokens"]) for row in rows).values())
        for item, other in combinations(rows, 2):
            if item["sequence"] == other["sequence"]:
                assert abs(item["start"] - other["start"]) >= asked.window


@given(CACHES, SAMPLINGS, st.sampled_from([(), (Random(kind="random", n=4),), (Silent(kind="silent", n=4),)]))
@BOUNDED
def test_documents_stay_apart_on_request(
    cache: Cache, asked: Sampling, contrast: tuple[Random | Silent, ...]
) -> None:
    """Each reader gets contexts, silent ones included, from documents of its own: one order divides them all."""
    asked = asked.model_copy(update={"apart": "document", "contrast": contrast})
    contexts, samples = tried(cache, asked)
    for feature, rows in contexts.items():
        touched = defaultdict(set)
        for row in rows:
            touched[row["role"]] |= account.documents(cache, (row["sequence"], row["start"]), asked.window)
        explain, score = (
            {account.document_hash(document, 22) for document in touched[role]}
            for role in ("explain", "score")
        )
        assert max(explain) < min(score)
        assert min(samples[feature]["explain"], samples[feature]["score"]) >= 1


@given(CACHES, SAMPLINGS)
@BOUNDED
def test_a_window_around_a_peak_has_it_in_the_middle(cache: Cache, asked: Sampling) -> None:
    """It is shifted only as far as keeps it in the sequence, and in the document where documents are apart."""
    asked = asked.model_copy(update={"windows": "peak"})
    contexts, _ = tried(cache, asked)
    for feature, rows in contexts.items():
        for row in (row for row in rows if row["kind"] == "activating"):
            sequence, start, position = row["sequence"], row["start"], row["peak_position"]
            stretches = cache.segments(sequence) if asked.apart == "document" else [(0, LENGTH, 0)]
            first, end = next((f, e) for f, e, _ in stretches if f <= start + position < e)
            assert first <= start <= end - asked.window
            assert position == asked.window // 2 or start in {first, end - asked.window}
            assert row["peak"] == row["activations"][position] == max(row["activations"])
            assert cache.firings[feature][sequence, start + position] == row["peak"]


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 5), STRATEGIES)
@BOUNDED
def test_scorers_get_exactly_their_share_of_each_decile(
    seed: int, explain: int, per_decile: int, strategy: dict
) -> None:
    """Whatever the explainer is shown, each tenth gives the scorers all they ask where it holds enough for both."""
    cache = drawn(seed, 120, [0.9])
    asked = sampling(explain=explain, per_decile=per_decile, strategy=strategy, negatives=1)
    contexts, samples = tried(cache, asked)
    sizes = Counter(account.deciles(account.ranked(cache, 0, asked)).values())
    given_ = Counter(
        row["decile"] for row in contexts[0] if row["kind"] == "activating" and row["role"] == "score"
    )
    enough = per_decile + explain // 10 + 1
    assert min(sizes.values()) >= enough
    assert dict.fromkeys(range(10), per_decile) == given_
    assert explain == samples[0]["explain"]


def test_the_strongest_windows_are_those_that_the_top_strategy_shows() -> None:
    """With enough windows, the explainer gets the strongest, in their order, and mixing gets as many as it says."""
    cache = drawn(3, 200, [0.9])
    for strategy, strongest in (({"kind": "top"}, 20), ({"kind": "mix", "top": 0.25}, 5)):
        asked = sampling(strategy=strategy, negatives=1)
        contexts, _ = tried(cache, asked)
        windows = account.ranked(cache, 0, asked)
        told = [place for place, *_ in shown(contexts[0], "explain")]
        assert set(told) >= {window.place for window in windows[:strongest]}
        assert 20 == len(told)


def test_importance_prefers_strong_windows() -> None:
    """Over many seeds, windows are drawn more often the stronger they are, in proportion for few of many."""
    cache = drawn(3, 400, [0.9])
    asked = sampling(explain=10, strategy={"kind": "importance"}, negatives=1)
    windows = account.ranked(cache, 0, asked)
    mean = sum(window.peak for window in windows) / len(windows)
    weighted = sum(window.peak**2 for window in windows) / len(windows) / mean
    result = [
        peak
        for contexts, _ in tried_all(cache, [(asked, seed) for seed in range(20)])
        for _, peak, _, _ in shown(contexts[0], "explain")
    ]
    assert abs(sum(result) / len(result) - weighted) < abs(sum(result) / len(result) - mean)


@pytest.mark.parametrize("window", [3, 5, 6, 7, 11, 16])
def test_a_window_need_not_divide_the_sequence(window: int) -> None:
    """What is left after the last whole window gives no context, of either kind, and counts for no window."""
    cache = drawn(5, 120, [0.6])
    contexts, samples = tried(cache, sampling(window=window))
    slots = LENGTH // window
    assert slots * cache.sequences == samples[0]["windows_total"]
    assert contexts[0]
    for row in contexts[0]:
        assert row["start"] % window == 0
        assert row["start"] // window < slots
        assert window == len(row["tokens"]) == len(row["activations"])


def test_a_feature_with_documents_that_cannot_be_split_is_skipped() -> None:
    """One document can't give contexts to both readers, and the reason says so."""
    cache = drawn(5, 60, [0.6], documents=(60 * LENGTH,))
    _, samples = tried(cache, sampling(apart="document"))
    assert "skipped" == samples[0]["status"]
    assert "documents apart" in samples[0]["reason"]


@given(CACHES, SAMPLINGS, st.sampled_from([(), (Silent(kind="silent", n=4),)]), st.integers(0, 99))
@BOUNDED
def test_documents_are_apart_where_that_leaves_enough(
    cache: Cache, asked: Sampling, contrast: tuple[Silent, ...], seed: int
) -> None:
    """Such a feature has the contexts that it has with documents apart, and every other those with windows apart."""
    asked = asked.model_copy(update={"contrast": contrast, "windows": "grid"})
    ways = ("auto", "document", "window")
    all_asked = [(asked.model_copy(update={"apart": apart}), seed) for apart in ways]
    of = dict(zip(ways, tried_all(cache, all_asked), strict=True))
    contexts, samples = of["auto"]
    for feature, told in samples.items():
        if told["status"] != "sampled":
            assert told["apart"] is None
            continue
        by_document = of["document"][1][feature]
        full = asked.explain, 10 * asked.per_decile
        assert (told["apart"] == "document") == (
            by_document["status"] == "sampled" and full == (by_document["explain"], by_document["score"])
        )
        assert of[told["apart"]][0][feature] == contexts[feature]
        assert told["apart"] == of[told["apart"]][1][feature]["apart"]


def test_features_with_one_text_are_skipped() -> None:
    """A feature that fires on the same text again and again has nothing to show, and the reason says so."""
    cache = drawn(5, 120, [0.6], period=1)
    _, samples = tried(cache, sampling(negatives=1))
    assert samples[0]["repeated"] > 20
    assert "fewer than 20 of its windows have a text of their own" == samples[0]["reason"]
