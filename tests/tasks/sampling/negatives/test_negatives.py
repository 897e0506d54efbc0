"""Non-activating contexts, kind by kind, against plain-Python accounts of what they promise."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from storage.lake import Lake
from storage.layout import Range
from tasks.llm.sentence_transformers import SentenceModel
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import (
    Cooccurring,
    Negatives,
    OtherFeature,
    Random,
    SameToken,
    Silent,
    Similar,
    SimilarText,
    neighbours,
)
from tasks.sampling.negatives.base import BLOCK, blocks, parts_with_blocks
from tests.tasks.caches import LENGTH, Firings, sample, steps, work
from tests.tasks.drawing import WINDOW, Worded, draw, embedded, toy_units, worded

BOUNDED = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CACHES = st.builds(
    worded,
    st.integers(0, 10**6),
    st.integers(10, 40),
    st.lists(st.sampled_from([0.1, 0.3, 0.6, 0.9, 1.0]), min_size=1, max_size=5),
    st.sampled_from([2, 3, 40]),
)
N = st.integers(1, 30)
KINDS: st.SearchStrategy[tuple[Negatives, ...]] = st.permutations(
    ["random", "silent", "other_feature", "same_token", "cooccurring", "similar", "similar_text"]
).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(
                lambda name, n: TypeAdapter(Negatives).validate_python({"kind": name, "n": n}),
                st.just(name),
                N,
            )
            for name in names
        )
    )
)
EVERY = (
    Random(n=9),
    Silent(n=9),
    OtherFeature(n=9),
    SameToken(n=9),
    Cooccurring(n=9),
    Similar(n=9),
    SimilarText(n=9),
)


def tried(cache: Worded, kinds: Sequence[Negatives], **options: object) -> list[dict]:
    """What is drawn in a lake of its own."""
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        cache.write(lake)
        return draw(lake, cache, kinds, **options)  # type: ignore[arg-type]


def windows(cache: Worded) -> list[tuple[int, int]]:
    """Every window of a cache."""
    return [(sequence, start) for sequence in range(cache.sequences) for start in range(0, LENGTH, WINDOW)]


def jaccard(cache: Worded, feature: int, other: int) -> float:
    """Tokens on which both fire, over tokens on which either does."""
    first, second = set(cache.firings.get(feature, {})), set(cache.firings.get(other, {}))
    return len(first & second) / max(1, len(first | second))


@given(CACHES, KINDS, st.data())
@BOUNDED
def test_no_kind_contains_a_firing(cache: Worded, kinds: Sequence[Negatives], data: st.DataObject) -> None:
    """Whatever the kinds and their order: silent, no window and no text twice, at most n of each, in order."""
    feature = data.draw(st.integers(0, cache.width - 1))
    seen = {"feature": feature, "role": "score", "kind": "activating", "sequence": 0, "start": 2}
    taken = {"feature": feature, "sequence": 1, "first": 5, "end": 9}
    rows = tried(cache, kinds, given=[seen | {"peak": 1.0, "place": 0, "text": 7}], taken=[taken])
    assert all(cache.silent(row["feature"], row["sequence"], row["start"]) for row in rows)
    texts = [(row["feature"], cache.text(row["sequence"], row["start"])) for row in rows]
    assert len(texts) == len(set(texts))
    had = Counter((row["feature"], row["kind"]) for row in rows)
    for kind in kinds:
        for number in range(cache.width):
            places = [row["place"] for row in rows if (row["feature"], row["kind"]) == (number, kind.kind)]
            assert list(range(had[number, kind.kind])) == places
            assert len(places) <= kind.n
    for row in rows:
        assert ("score", None, 0.0) == (row["role"], row["decile"], row["peak"])
        assert 0 == row["start"] % WINDOW
        if row["feature"] == feature:
            assert (row["sequence"], row["start"]) not in {(0, 0), (0, 4), (1, 4), (1, 8)}


@given(CACHES, N)
@BOUNDED
def test_random_and_silent_give_all_that_there_is(cache: Worded, n: int) -> None:
    """n distinct texts, or as many as lie in silent sequences, or in silent windows."""
    rows = tried(cache, [Random(n=n)]), tried(cache, [Silent(n=n)])
    for feature in range(cache.width):
        busy = {sequence for sequence, _ in cache.firings.get(feature, {})}
        wide = {cache.text(*place) for place in windows(cache) if cache.silent(feature, *place)}
        narrow = {cache.text(*place) for place in windows(cache) if place[0] not in busy}
        for drawn, possible in zip(rows, (narrow, wide), strict=True):
            mine = [row for row in drawn if row["feature"] == feature]
            assert min(n, len(possible)) == len(mine)
            assert {cache.text(row["sequence"], row["start"]) for row in mine} <= possible
        assert not busy & {row["sequence"] for row in rows[0] if row["feature"] == feature}


def test_silent_finds_windows_where_random_finds_none() -> None:
    """A feature that fires in every sequence has silent windows in them."""
    cache = worded(3, 30, [1.0])
    assert [] == tried(cache, [Random(n=20)])
    assert 20 == len(tried(cache, [Silent(n=20)]))


def test_the_papers_windows_begin_at_the_tenth_token() -> None:
    """As many draws of silent sequences as contexts are asked for, with replacement; what comes again is shown once."""
    cache = worded(3, 60, [0.4, 0.1], vocabulary=10**6)
    rows = tried(cache, [Random(n=40, drawn="paper")])
    for feature in range(cache.width):
        busy = {sequence for sequence, _ in cache.firings[feature]}
        mine = [row for row in rows if row["feature"] == feature]
        sequences = [row["sequence"] for row in mine]
        assert {10} == {row["start"] for row in mine}
        assert not busy & set(sequences)
        assert len(sequences) == len(set(sequences))
        silent = 60 - len(busy)
        # Distinct ones among 40 draws with replacement: the mean, and three standard deviations at most.
        assert abs(len(mine) - silent * (1 - (1 - 1 / silent) ** 40)) < 3 * 40**0.5 / 2
        assert len(mine) < 40
    assert rows == tried(cache, [Random(n=40, drawn="paper")], features=[0, 1], threads=2)
    alone = tried(cache, [Random(n=40, drawn="paper")], features=[1])
    assert [row for row in rows if row["feature"] == 1] == alone


BANK, RIVER, MONEY, OTHER = 1, 2, 3, 4


def banks(sequences: int, every: int = 2) -> Worded:
    """Feature 0 fires on "bank" beside "river" and not beside "money", feature 1 somewhere else.

    Each sequence has one window about a river or about money; all other windows are about something else.
    """
    tokens = {
        (sequence, position): 10 + sequence * LENGTH + position
        for sequence in range(sequences)
        for position in range(LENGTH)
    }
    firings: Firings = defaultdict(dict)
    for sequence in range(sequences):
        start = sequence % (LENGTH // WINDOW) * WINDOW
        river = sequence % every == 0
        tokens[sequence, start] = RIVER if river else MONEY
        tokens[sequence, start + 2] = BANK
        if river:
            firings[0][sequence, start + 2] = 1.0
        firings[1][sequence, (start + 7) % LENGTH] = 1.0
    return Worded(sequences, 2, dict(firings), tokens=tokens)


def test_a_bank_by_the_river_is_told_from_one_with_money() -> None:
    """A feature that fires on "bank" only in river contexts gets "bank" in money contexts, and nothing else."""
    cache = banks(120)
    rows = [row for row in tried(cache, [SameToken(n=30)]) if row["feature"] == 0]
    assert 30 == len(rows)
    for row in rows:
        text = cache.text(row["sequence"], row["start"])
        assert {BANK, MONEY} <= set(text)
        assert RIVER not in text


def test_a_token_that_has_few_other_contexts_gives_those() -> None:
    """What there is is given; no other window is put in its place."""
    rows = [row for row in tried(banks(120, every=120), [SameToken(n=400)]) if row["feature"] == 0]
    assert 119 == len(rows)
    none = [row for row in tried(banks(120, every=1), [SameToken(n=40)]) if row["feature"] == 0]
    assert [] == none


def test_tokens_come_in_proportion_to_the_firings_on_them() -> None:
    """Three firings on one token and one on another give three windows of the one for one of the other."""
    sequences, first, second = 200, 1, 2
    tokens, firings = {}, {}
    for sequence in range(sequences):
        for position in range(LENGTH):
            tokens[sequence, position] = 10 + sequence * LENGTH + position
        tokens[sequence, 1] = first if sequence % 2 else second
        if sequence < 40 and sequence % 8 in {1, 3, 5, 6}:
            firings[sequence, 1] = 1.0
    cache = Worded(sequences, 1, {0: firings}, tokens=tokens)
    rows = tried(cache, [SameToken(n=40)])
    assert {first: 30, second: 10} == Counter(cache.token(row["sequence"], 1) for row in rows)
    assert {first: 40} == Counter(
        cache.token(row["sequence"], 1) for row in tried(cache, [SameToken(n=40, tokens=1)])
    )
    few = tried(cache, [SameToken(n=130)])
    assert {first: 85, second: 45} == Counter(cache.token(row["sequence"], 1) for row in few)


@given(CACHES, st.integers(1, 4), N)
@BOUNDED
def test_cooccurring_features_are_the_nearest_by_jaccard(cache: Worded, k: int, n: int) -> None:
    """Near is one of the k nearest that meet the feature at all, fires in the window, and the distance is 1 - J."""
    rows = tried(cache, [Cooccurring(n=n, neighbours=k)])
    for feature in range(cache.width):
        indices = {other: jaccard(cache, feature, other) for other in range(cache.width) if other != feature}
        met = sorted(
            (index for index in indices if indices[index] > 0), key=lambda index: (-indices[index], index)
        )[:k]
        mine = [row for row in rows if row["feature"] == feature]
        possible = {
            cache.text(*place)
            for place in windows(cache)
            if cache.silent(feature, *place) and not all(cache.silent(near, *place) for near in met)
        }
        assert min(n, len(possible)) == len(mine)
        for row in mine:
            assert row["near"] in met
            assert not cache.silent(row["near"], row["sequence"], row["start"])
            assert pytest.approx(1 - indices[row["near"]], abs=1e-6) == row["distance"]


@given(CACHES, st.integers(1, 4), N, st.sampled_from(["decoder", "encoder"]))
@BOUNDED
def test_similar_features_are_the_nearest_by_cosine(
    cache: Worded, k: int, n: int, by: Literal["decoder", "encoder"]
) -> None:
    """Near is one of the k nearest by the rows asked for, fires in the window, and the distance is 1 - cosine."""
    rows = tried(cache, [Similar(n=n, neighbours=k, by=by)])
    for feature in range(cache.width):
        cosines = dict(cache.neighbours[feature])
        if by == "encoder":
            cosines = {other: -cosine for other, cosine in cosines.items()}
        nearest = sorted(cosines, key=lambda item: (-cosines[item], item))[:k]
        mine = [row for row in rows if row["feature"] == feature]
        possible = {
            cache.text(*place)
            for place in windows(cache)
            if cache.silent(feature, *place) and not all(cache.silent(near, *place) for near in nearest)
        }
        assert min(n, len(possible)) == len(mine)
        for row in mine:
            assert row["near"] in nearest
            assert not cache.silent(row["near"], row["sequence"], row["start"])
            assert pytest.approx(1 - cosines[row["near"]]) == row["distance"]


def apart(strengths: dict[int, list[float]]) -> Worded:
    """Features that never fire in one window: each in sequences of its own, once in each, with these activations."""
    firings: Firings = defaultdict(dict)
    for feature, activations in strengths.items():
        for number, activation in enumerate(activations):
            firings[feature][100 * feature + number, 1] = activation
    sequences = 100 * len(strengths)
    tokens = {(s, p): s * LENGTH + p for s in range(sequences) for p in range(LENGTH)}
    return Worded(
        sequences,
        len(strengths),
        dict(firings),
        tokens=tokens,
        neighbours={0: [(3, 0.1), (2, 0.5), (1, 0.9)]},
    )


def test_each_neighbour_gives_its_share_the_nearest_first() -> None:
    """When one has too few windows, the others give more."""
    cache = apart({0: [1.0], 1: [3.0, 5.0, 4.0, 6.0], 2: [2.0], 3: [float(peak) for peak in range(1, 21)]})
    rows = [row for row in tried(cache, [Similar(n=9, neighbours=3)]) if row["feature"] == 0]
    assert [1, 1, 1, 2, 3, 3, 3, 1, 3] == [row["near"] for row in rows]


def test_a_neighbours_windows_are_of_all_strengths() -> None:
    """They come at random: the strongest have a look of their own that no explanation would be needed to see."""
    cache = apart({0: [1.0], 1: [float(peak) for peak in range(1, 201)], 2: [2.0], 3: [2.0]})
    rows = [row for row in tried(cache, [Similar(n=40, neighbours=1)]) if row["feature"] == 0]
    peaks = sorted(cache.firings[1][row["sequence"], 1] for row in rows)
    assert 40 == len(peaks)
    # The mean of 40 of 200 at random is 100.5 with a standard error of 8.2; of the strongest it would be 180.5.
    assert 70 < sum(peaks) / 40 < 130


def test_a_neighbour_without_silent_windows_leaves_its_turn_to_the_next() -> None:
    """A feature's twin fires wherever it does, so that none of its windows can be shown."""
    cache = apart({0: [1.0, 1.0], 1: [], 2: [2.0, 3.0], 3: [4.0]})
    cache.firings[1] = dict(cache.firings[0])
    rows = [row for row in tried(cache, [Similar(n=3, neighbours=3)]) if row["feature"] == 0]
    assert [2, 3, 2] == [row["near"] for row in rows]


def test_what_a_frequent_feature_meets_is_estimated_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours are those that all its firings would give, at distances close to theirs."""
    cache = worded(5, 400, [0.9, 0.5, 0.05])
    both = {place: 1.0 for number, place in enumerate(sorted(cache.firings[0])) if number % 2}
    cache.firings[1] = both
    exact = {row["near"]: row["distance"] for row in tried(cache, [Cooccurring(n=60)]) if row["feature"] == 0}
    monkeypatch.setattr(neighbours, "FIRINGS", 400)
    assert len(cache.firings[0]) > 1500
    about = {row["near"]: row["distance"] for row in tried(cache, [Cooccurring(n=60)]) if row["feature"] == 0}
    assert {2} <= set(exact) == set(about)
    assert all(exact[near] == pytest.approx(about[near], abs=0.1) for near in exact)


def contexts(lake: Lake, cache: Worded, asked: Sampling) -> list[dict]:
    """The table `contexts` of a cache, as the task makes it."""
    cache.write(lake)
    part, step = Range(0, cache.width), steps()[-1]
    sample(embedded(lake, cache, work(lake, asked)), [part], range(cache.width))
    lake.commit(step, [part])
    return lake.read("contexts", lake.parts(step, "contexts")).to_pylist()


@pytest.mark.parametrize("windows", ["grid", "peak"])
@pytest.mark.parametrize("apart", ["window", "document"])
def test_a_table_of_contexts_mixes_all_kinds(
    tmp_path: Path,
    windows: Literal["grid", "peak"],
    apart: Literal["window", "document"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All are there beside the activating ones, silent and each text once, with neighbour and distance where one is."""
    asked = Sampling(
        window=WINDOW,
        windows=windows,
        apart=apart,
        explain=20,
        per_decile=2,
        min_firings=20,
        negatives=EVERY,
    )
    cache = worded(7, 150, [0.5, 0.2, 0.6, 0.01])
    monkeypatch.setattr(SentenceModel, "units", lambda _, texts: toy_units(cache, texts))
    rows = contexts(Lake(tmp_path.as_posix()), cache, asked)
    given_ = Counter((row["feature"], row["kind"]) for row in rows if row["kind"] != "activating")
    assert {(feature, kind.kind): 9 for feature in (0, 1, 2) for kind in EVERY} == given_
    texts = [(row["feature"], tuple(row["tokens"])) for row in rows]
    assert len(texts) == len(set(texts))
    for row in rows:
        near = row["kind"] in {"cooccurring", "similar"}
        assert near == (row["near"] is not None)
        assert (near or row["kind"] == "other_feature") == (row["other"] is not None)
        assert row["near"] in {None, row["other"]}
        fires = cache.firings.get(row["other"], {})
        tokens = [(row["sequence"], row["start"] + place) for place in range(WINDOW)]
        assert ([fires.get(token, 0) for token in tokens] if row["other"] is not None else None) == row[
            "other_activations"
        ]
        assert (near or row["kind"] == "similar_text") == (row["distance"] is not None)
        if row["kind"] != "activating":
            assert ({0.0}, "score") == (set(row["activations"]), row["role"])


def test_kinds_that_find_nothing_leave_the_feature_with_what_there_is(tmp_path: Path) -> None:
    """Nothing fires near it and its token is always its own: it is sampled, and the table counts what was given."""
    cache = banks(120, every=1)
    kinds = (Random(n=5), SameToken(n=5), Cooccurring(n=5), Similar(n=5))
    lake = Lake(tmp_path.as_posix())
    asked = Sampling(window=WINDOW, explain=20, per_decile=2, min_firings=20, negatives=kinds)
    assert [] == contexts(lake, cache, asked)
    asked = asked.model_copy(update={"negatives": kinds[1:]})
    other = Lake((tmp_path / "other").as_posix())
    rows = contexts(other, cache, asked)
    samples = other.read("samples", other.parts(steps()[-1], "samples")).to_pylist()
    assert [("sampled", 0), ("sampled", 0)] == [(row["status"], row["negatives"]) for row in samples]
    assert {"activating"} == {row["kind"] for row in rows if row["feature"] == 0}


CACHE = worded(11, 90, [0.4, 0.2, 0.9, 0.6, 0.05, 0.3])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What one thread draws of all kinds for one bucket."""
    lake = Lake(tmp_path_factory.mktemp("undisturbed").as_posix())
    CACHE.write(lake)
    rows = draw(lake, CACHE, EVERY)
    assert {kind.kind for kind in EVERY} == {row["kind"] for row in rows}
    return rows


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_nothing(tmp_path: Path, undisturbed: list[dict], threads: int) -> None:
    """The same rows at any number of threads."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    assert undisturbed == draw(lake, CACHE, EVERY, threads=threads)


def test_the_bucket_changes_nothing(tmp_path: Path, undisturbed: list[dict]) -> None:
    """A feature gets the same windows alone, in pairs and with all others, in the cache's shards or in others."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake, shards=7)
    for bucket in ([0, 1], [2], [3, 4, 5]):
        assert [row for row in undisturbed if row["feature"] in bucket] == draw(lake, CACHE, EVERY, bucket)


def test_another_seed_draws_other_windows(tmp_path: Path, undisturbed: list[dict]) -> None:
    """Of every kind that draws; neighbours are what they are."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    rows = draw(lake, CACHE, EVERY, seed=23)
    for kind in ("random", "silent", "other_feature", "same_token"):
        before, after = (
            {(row["feature"], row["sequence"], row["start"]) for row in drawn if row["kind"] == kind}
            for drawn in (undisturbed, rows)
        )
        assert before != after


@pytest.fixture
def blocks_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches in a small cache: blocks of ten sequences, of which one is the first round."""
    for module in ("base", "similar_text", "same_token"):
        monkeypatch.setattr(f"tasks.sampling.negatives.{module}.BLOCK", 10)
    monkeypatch.setattr("tasks.sampling.negatives.same_token.FIRST", 10)


@pytest.mark.usefixtures("blocks_of_ten")
@pytest.mark.parametrize("kind", [SameToken, Cooccurring, Similar, SimilarText])
def test_a_search_stays_within_its_sequences(
    kind: type[SameToken | Cooccurring | Similar | SimilarText], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No window lies outside of what is searched; a larger search finds more."""
    monkeypatch.setattr(SentenceModel, "units", lambda _, texts: toy_units(CACHE, texts))
    result = {search: tried(CACHE, [kind(n=60, search=search)]) for search in (20, 50, 90)}
    for search, rows in result.items():
        searched = blocks(CACHE.sequences, search, 22)
        assert {row["sequence"] // 10 for row in rows} <= set(searched)
    assert len(result[20]) < len(result[50]) < len(result[90])


@pytest.mark.usefixtures("blocks_of_ten")
def test_a_rare_token_is_looked_for_further(tmp_path: Path) -> None:
    """The first round has too few windows with "bank"; the next ones have the others."""
    lake = Lake(tmp_path.as_posix())
    cache = banks(120)
    cache.write(lake)
    rows = [row for row in draw(lake, cache, [SameToken(n=40)]) if row["feature"] == 0]
    assert 40 == len(rows)
    assert len({row["sequence"] // 10 for row in rows}) > 4


@given(st.integers(0, 10**5), st.integers(1, 10**5), st.integers(1, 10**5), st.integers(0, 9))
@BOUNDED
def test_blocks_are_enough_and_begin_alike(sequences: int, few: int, many: int, seed: int) -> None:
    """They hold what is asked for or all, each once, and a smaller search is the beginning of a larger one."""
    few, many = sorted((few, many))
    every = -(-sequences // BLOCK)
    small, large = (blocks(sequences, most, seed) for most in (few, many))
    assert small == large[: len(small)]
    for most, result in ((few, small), (many, large)):
        assert min(every, -(-most // BLOCK)) == len(result) == len(set(result))
        assert set(result) <= set(range(every))


def test_only_parts_that_hold_searched_sequences_are_read() -> None:
    """By the ranges that their names give."""
    parts = [f"lake/tokens/x/{first:010d}-{first + 512:010d}.parquet" for first in range(0, 2048, 512)]
    assert parts[:1] == parts_with_blocks(parts, [0])
    assert [parts[0], parts[2]] == parts_with_blocks(parts, [5, 1, 0])
    assert [] == parts_with_blocks(parts, [9])


@pytest.mark.parametrize(
    "config", [{"kind": "nearest"}, {"kind": "random", "n": 0}, {"kind": "random", "search": 9}, {"n": 5}]
)
def test_what_no_kind_knows_is_refused(config: dict) -> None:
    """Kinds, numbers and options that there are not."""
    with pytest.raises(ValidationError):
        TypeAdapter(Negatives).validate_python(config)
