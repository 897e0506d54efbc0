"""Both systems are given the same cache, and a lake as the cache stage leaves it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.sample import workload
from benchmarks.sample.firings import Coder
from benchmarks.sample.sampling import cached
from benchmarks.sample.splits import HOOKPOINT
from flows import cache_stage
from storage.lake import Lake

CODER = Coder(width=40, per_token=2, sequence=16)
SIZES = [10, 20, 40]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A folder with both, and the firings at each size."""
    folder = tmp_path_factory.mktemp("cache")
    request = {"folder": str(folder), "coder": vars(CODER), "sizes": SIZES, "shard": 5, "splits": True}
    return folder, workload.answer(request | {"threads": 2})["firings"]


@pytest.mark.parametrize("i", range(len(SIZES)))
def test_every_size_is_a_committed_cache(made: tuple[Path, list[int]], i: int) -> None:
    """Its features say how often each of them fired in it, and how strongly at most."""
    folder, firings = made
    lake, steps, size = Lake(str(folder / "lake")), cached(SIZES[i]), SIZES[i]

    assert size == lake.rows(steps.tokens, "tokens")
    assert size // 5 == len(lake.parts(steps.activations, "activations"))
    rows = lake.read("activations", lake.parts(steps.activations, "activations"))
    features = lake.read("features", lake.parts(steps.features, "features"))
    assert firings[i] == len(rows) == sum(features["firings"].to_pylist())
    largest: dict[int, float] = {}
    for feature, activation in zip(rows["feature"].to_pylist(), rows["activation"].to_pylist(), strict=True):
        largest[feature] = max(activation, largest.get(feature, 0))
    assert [largest.get(feature) for feature in range(40)] == features["max"].to_pylist()
    assert [feature not in largest for feature in range(40)] == features["dead"].to_pylist()


def test_delphis_splits_hold_the_same(made: tuple[Path, list[int]]) -> None:
    """The same firings, ordered by place, and all tokens in each file, whose name says which features it has."""
    folder, _ = made
    lake, steps = Lake(str(folder / "lake")), cached(SIZES[-1])
    rows = lake.read("activations", lake.parts(steps.activations, "activations"))
    names = ("sequence", "position", "feature", "activation")
    ours = set(zip(*(rows[name].to_pylist() for name in names), strict=True))
    tokens = lake.read("tokens", lake.parts(steps.tokens, "tokens"))

    theirs = set()
    files = {file.stem: load_file(file) for file in (folder / "splits" / HOOKPOINT).glob("*.safetensors")}
    assert {"0_7", "8_15", "16_23", "24_31", "32_39"} == files.keys()
    for name, split in files.items():
        places = split["locations"].astype(int) + np.array([0, 0, int(name.split("_")[0])])
        assert sorted(places.tolist()) == places.tolist()
        theirs |= {
            (*place, float(value)) for place, value in zip(places.tolist(), split["activations"], strict=True)
        }
        assert tokens["tokens"].to_pylist() == split["tokens"].tolist()
    assert ours == theirs


def test_features_are_cut_as_the_cache_stage_does() -> None:
    """By the same two numbers."""
    assert (cache_stage.FEATURES_AT_ONCE, cache_stage.FEATURE_PARTS) == (
        workload.FEATURES_AT_ONCE,
        workload.FEATURE_PARTS,
    )


def test_no_two_windows_have_one_text(made: tuple[Path, list[int]]) -> None:
    """So that tokens name a window; the strings are those of the tokens."""
    lake = Lake(str(made[0] / "lake"))
    tokens = lake.read("tokens", lake.parts(cached(SIZES[-1]).tokens, "tokens"))

    ids = np.array(tokens["tokens"].to_pylist())
    assert 2 * len(ids) == len(np.unique(ids.reshape(-1, 8), axis=0))
    assert {0} == set(ids[:, 0].tolist())
    assert ["<s>", f" w{ids[0, 1]}"] == tokens["strings"][0].as_py()[:2]
