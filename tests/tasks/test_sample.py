"""Sampling, against a plain-Python account of what it promises."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.lake import Lake
from storage.layout import Range
from tasks import sample as module
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import Cooccurring, OtherFeature, Silent
from tasks.sampling.work import Bucket
from tests.s3 import Place
from tests.tasks.caches import LENGTH, Cache, drawn, sample, sampling, steps, work

BOUNDED = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CACHES = st.builds(
    drawn,
    st.integers(0, 10**6),
    st.integers(10, 60),
    st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]), min_size=1, max_size=5),
)
SAMPLINGS = st.builds(
    sampling,
    window=st.sampled_from([2, 4, 8]),
    explain=st.integers(1, 60),
    per_decile=st.integers(1, 5),
    negatives=st.integers(1, 40),
    min_firings=st.integers(1, 60),
)

Row = dict


class ThreadedLake(Lake):
    """A lake whose connections take a given number of threads, whatever they are asked to take."""

    threads = 1

    def connect(self, threads: int | None = None, memory: float | None = None) -> duckdb.DuckDBPyConnection:
        return super().connect(self.threads, memory)


def sampled(
    lake: Lake,
    cache: Cache,
    asked: Sampling,
    chosen: Sequence[int] | None = None,
    cut: Sequence[Range] = (),
    seed: int = 22,
    together: int | None = 1,
) -> tuple[pa.Table, pa.Table]:
    """Contexts and samples of a written cache, bucket by bucket or some of them by one task."""
    cut = cut or [Range(0, cache.width)]
    wanted = range(cache.width) if chosen is None else chosen
    sample(work(lake, asked, seed), cut, wanted, together)
    step = steps()[-1]
    lake.commit(step, cut)
    return (
        lake.read("contexts", lake.parts(step, "contexts")),
        lake.read("samples", lake.parts(step, "samples")),
    )


def tried(cache: Cache, asked: Sampling, chosen: Sequence[int] | None = None) -> tuple[list[Row], list[Row]]:
    """The same in a lake of its own, as records."""
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        cache.write(lake)
        contexts, samples = sampled(lake, cache, asked, chosen)
    return contexts.to_pylist(), samples.to_pylist()


def windows(cache: Cache, feature: int, window: int) -> dict[tuple[int, int], float]:
    """Peak of every window in which a feature fires, by sequence and start."""
    peaks: dict[tuple[int, int], float] = defaultdict(float)
    for (sequence, position), activation in cache.firings.get(feature, {}).items():
        place = (sequence, position // window * window)
        peaks[place] = max(peaks[place], activation)
    return dict(peaks)


def deciles(peaks: dict[tuple[int, int], float]) -> dict[tuple[int, int], int]:
    """Tenth of each window by the rank of its peak, ties by place."""
    ranked = sorted(peaks, key=lambda place: (-peaks[place], place))
    return {place: rank * 10 // len(ranked) for rank, place in enumerate(ranked)}


def expected_status(cache: Cache, feature: int, asked: Sampling) -> tuple[str, str | None]:
    """Status of a chosen feature, and the first words of the reason."""
    fired = cache.firings.get(feature, {})
    peaks = windows(cache, feature, asked.window)
    silent = LENGTH // asked.window * (cache.sequences - len({sequence for sequence, _ in fired}))
    if not fired:
        return "skipped", "it never fires"
    if len(fired) < asked.min_firings:
        return "skipped", f"it fires on fewer than {asked.min_firings} tokens"
    if len(peaks) < 20:
        return "skipped", "it fires in fewer than 20 windows"
    if silent < asked.negatives[0].n:
        return "skipped", f"it is too dense: fewer than {asked.negatives[0].n} windows"
    return "sampled", None


@given(CACHES, SAMPLINGS, st.data())
@BOUNDED
def test_every_feature_has_its_row_and_its_reason(cache: Cache, asked: Sampling, data: st.DataObject) -> None:
    """Dead, rare, narrow, dense and unchosen features keep a row that says so; only the others have contexts."""
    chosen = data.draw(st.lists(st.sampled_from(range(cache.width)), unique=True).map(sorted))
    contexts, samples = tried(cache, asked, chosen)
    assert list(range(cache.width)) == [row["feature"] for row in samples]
    told = Counter(row["status"] for row in samples)
    assert cache.width == told["sampled"] + told["skipped"] + told["not chosen"]
    counts = Counter((row["feature"], row["role"], row["kind"] == "activating") for row in contexts)
    slots = LENGTH // asked.window
    for row in samples:
        feature, fired = row["feature"], cache.firings.get(row["feature"], {})
        status, reason = expected_status(cache, feature, asked) if feature in chosen else ("not chosen", None)
        assert status == row["status"]
        assert (reason is None) == (row["reason"] is None)
        assert (row["reason"] or "").startswith(reason or "")
        assert (len(fired), slots * cache.sequences) == (row["firings"], row["windows_total"])
        assert max(fired.values(), default=None) == row["max"]
        drawn_of_it = (row["explain"], row["score"], row["negatives"])
        assert drawn_of_it == (
            counts[feature, "explain", True],
            counts[feature, "score", True],
            counts[feature, "score", False],
        )
        assert (status == "sampled") == (sum(drawn_of_it) > 0)
        if feature in chosen:
            busy = {sequence for sequence, _ in fired}
            assert len(windows(cache, feature, asked.window)) == row["windows"]
            assert slots * (cache.sequences - len(busy)) == row["silent_windows"]
    assert len(contexts) == sum(counts.values())


@given(CACHES, SAMPLINGS)
@BOUNDED
def test_each_tenth_gives_its_share(cache: Cache, asked: Sampling) -> None:
    """A tenth gives all that is asked where it can, and where it cannot, both readers their part of it."""
    contexts, samples = tried(cache, asked)
    for feature in (row["feature"] for row in samples if row["status"] == "sampled"):
        sizes = Counter(deciles(windows(cache, feature, asked.window)).values())
        given_ = Counter(
            (row["role"], row["decile"])
            for row in contexts
            if row["feature"] == feature and row["kind"] == "activating"
        )
        shares = {decile: asked.explain // 10 + (decile < asked.explain % 10) for decile in range(10)}
        full = all(sizes[decile] >= shares[decile] + asked.per_decile for decile in range(10))
        for decile in range(10):
            size, share, score = sizes[decile], shares[decile], asked.per_decile
            kept = max(1, min(score, size * score // (score + share)))
            explain = given_["explain", decile]
            assert min(share, size - kept) <= explain <= size - kept
            assert min(score, size - explain) == given_["score", decile] >= 1
            assert not full or (share, score) == (explain, given_["score", decile])
        assert sum(given_["explain", decile] for decile in range(10)) <= asked.explain


@given(CACHES, SAMPLINGS)
@BOUNDED
def test_contexts_are_what_the_cache_holds(cache: Cache, asked: Sampling) -> None:
    """Tokens, strings, activations, peak, its position and the tenth are those of the window; none is given twice."""
    contexts, samples = tried(cache, asked)
    assert len(contexts) == len({(row["feature"], row["sequence"], row["start"]) for row in contexts})
    tenths = {row["feature"]: deciles(windows(cache, row["feature"], asked.window)) for row in samples}
    for row in contexts:
        fired, sequence, start = cache.firings[row["feature"]], row["sequence"], row["start"]
        places = [(sequence, start + i) for i in range(asked.window)]
        activations = [fired.get(place, 0.0) for place in places]
        tokens = [cache.token(*place) for place in places]
        assert 0 == start % asked.window
        assert (tokens, [f"t{i}" for i in tokens]) == (row["tokens"], row["strings"])
        assert (activations, max(activations)) == (row["activations"], row["peak"])
        active = row["kind"] == "activating"
        assert (activations.index(row["peak"]) if active else None) == row["peak_position"]
        assert (tenths[row["feature"]][sequence, start] if active else None) == row["decile"]
    for row in samples:
        numbers = [context["context"] for context in contexts if context["feature"] == row["feature"]]
        assert list(range(len(numbers))) == numbers


@given(CACHES, SAMPLINGS)
@BOUNDED
def test_negatives_come_from_silence(cache: Cache, asked: Sampling) -> None:
    """A sampled feature has exactly as many as asked, distinct, from sequences in which it never fires."""
    contexts, samples = tried(cache, asked)
    for row in samples:
        negatives = [
            (context["sequence"], context["start"])
            for context in contexts
            if context["feature"] == row["feature"] and context["kind"] == "random"
        ]
        wanted = asked.negatives[0].n if row["status"] == "sampled" else 0
        assert wanted == len(negatives) == len(set(negatives))
        busy = {sequence for sequence, _ in cache.firings.get(row["feature"], {})}
        assert not busy & {sequence for sequence, _ in negatives}


CACHE = drawn(
    5, 120, [0.5, 0.2, 0.0, 0.9, 0.4, 1.0, 0.6, 0.02], period=70, documents=(23, 5, 40, 2 * LENGTH, 11)
)
KINDS = {
    "grid": sampling(),
    "peaks": sampling(windows="peak", strategy={"kind": "importance"}, most_windows=150),
    "documents": sampling(window=5, apart="document", strategy={"kind": "mix", "rest": "values"}),
    "others": sampling(apart="auto").model_copy(
        update={
            "negatives": (Silent(n=10), OtherFeature(n=10, features=3), Cooccurring(n=10, neighbours=2)),
            "contrast": (OtherFeature(n=5, features=2),),
        }
    ),
}
"""Ways of sampling that go through every statement."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Sampling:
    """Each way of sampling."""
    return KINDS[request.param]


@pytest.fixture(scope="module")
def undisturbed(kind: Sampling, tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, pa.Table]:
    """What one thread draws of one bucket in a local lake."""
    lake = Lake(tmp_path_factory.mktemp("undisturbed").as_posix())
    CACHE.write(lake)
    contexts, samples = sampled(lake, CACHE, kind)
    assert samples["status"].to_pylist().count("sampled") > 2
    return contexts, samples


WHOLE = pytest.mark.parametrize("kind", ["grid", "peaks"], indirect=True)
"""Ways in which any window may go to either reader."""


@WHOLE
def test_a_full_tenth_gives_exactly_what_is_asked(
    kind: Sampling, undisturbed: tuple[pa.Table, pa.Table]
) -> None:
    """With enough windows there are ten times per_decile to score and exactly as many to explain as asked."""
    rows = [
        row for row in undisturbed[1].to_pylist() if row["status"] == "sampled" and row["candidates"] >= 60
    ]
    assert len(rows) > 2
    assert {(20, 30, 20)} == {(row["explain"], row["score"], row["negatives"]) for row in rows}


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_nothing(
    tmp_path: Path, kind: Sampling, undisturbed: tuple[pa.Table, pa.Table], threads: int
) -> None:
    """The same rows in the same order at any number of threads."""
    lake = ThreadedLake(tmp_path.as_posix())
    lake.threads = threads
    CACHE.write(lake)
    assert undisturbed == sampled(lake, CACHE, kind)


@pytest.mark.parametrize("together", [1, None])
@pytest.mark.parametrize("cuts", [(1,), (3, 4), tuple(range(1, 8))])
def test_buckets_change_nothing(
    tmp_path: Path,
    kind: Sampling,
    undisturbed: tuple[pa.Table, pa.Table],
    cuts: tuple[int, ...],
    together: int | None,
) -> None:
    """The same rows however features are cut into buckets, each drawn by its own task or all by one."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    ends = (0, *cuts, CACHE.width)
    parts = [Range(first, end) for first, end in pairwise(ends)]
    assert undisturbed == sampled(lake, CACHE, kind, cut=parts, together=together)


def test_a_bucket_in_pieces_gives_the_same_rows(
    tmp_path: Path,
    kind: Sampling,
    undisturbed: tuple[pa.Table, pa.Table],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features that fire more often than can be held at a time are drawn some at a time."""
    monkeypatch.setattr(module, "MAX_FIRINGS", 300)
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    assert undisturbed == sampled(lake, CACHE, kind)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 60), st.data())
def test_pieces_cover_a_bucket(counts: list[int], most: int, data: st.DataObject) -> None:
    """Each fires at most so often or is a single feature, and together they have every chosen feature once."""
    first = data.draw(st.integers(0, 1000))
    chosen = data.draw(st.sets(st.integers(first, first + len(counts) - 1)).map(sorted))
    bucket = Bucket(Range(first, first + len(counts)), np.array(chosen, np.int32))
    fired = dict(zip(range(first, first + len(counts)), counts, strict=True))
    pieces = list(bucket.pieces(np.array([fired[feature] for feature in chosen], np.int64), most))
    assert [first, *(piece.part.end for piece in pieces)] == [
        *(piece.part.first for piece in pieces),
        first + len(counts),
    ]
    assert chosen == [feature for piece in pieces for feature in piece.chosen.tolist()]
    for part, features in pieces:
        assert all(part.first <= feature < part.end for feature in features)
        assert len(features) == 1 or sum(fired[feature] for feature in features) <= most


def test_shards_change_nothing(
    tmp_path: Path, kind: Sampling, undisturbed: tuple[pa.Table, pa.Table]
) -> None:
    """The same rows however sequences are cut into shards."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake, shards=7)
    assert undisturbed == sampled(lake, CACHE, kind)


def test_features_that_are_not_chosen_change_nothing(
    tmp_path: Path, kind: Sampling, undisturbed: tuple[pa.Table, pa.Table]
) -> None:
    """A feature's contexts don't depend on who else is sampled."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    contexts, _ = sampled(lake, CACHE, kind, chosen=[4])
    assert contexts.num_rows > 0
    assert [row for row in undisturbed[0].to_pylist() if row["feature"] == 4] == contexts.to_pylist()


def test_a_bucket_in_s3_gives_the_same_rows(
    s3: Place, kind: Sampling, undisturbed: tuple[pa.Table, pa.Table]
) -> None:
    """Where the lake lies changes nothing."""
    lake = Lake(s3.uri)
    CACHE.write(lake)
    assert undisturbed == sampled(lake, CACHE, kind)


@WHOLE
def test_another_seed_draws_other_windows(
    tmp_path: Path, kind: Sampling, undisturbed: tuple[pa.Table, pa.Table]
) -> None:
    """Features and counts stay; positives and negatives change."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    contexts, samples = sampled(lake, CACHE, kind, seed=23)
    assert undisturbed[1] == samples
    for source in ("activating", "random"):
        before, after = (
            {
                (row["feature"], row["role"], row["sequence"], row["start"])
                for row in table.to_pylist()
                if row["kind"] == source
            }
            for table in (undisturbed[0], contexts)
        )
        assert len(before) == len(after)
        assert before != after


def test_a_bucket_of_unchosen_features_is_written_all_the_same(tmp_path: Path) -> None:
    """Its contexts are empty and its samples say why."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    contexts, samples = sampled(lake, CACHE, sampling(), chosen=[])
    assert 0 == contexts.num_rows
    assert {"not chosen"} == set(samples["status"].to_pylist())
