"""What the benchmark times is what a run does."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cache import check, floor, ours, workload
from benchmarks.cache.cases import Shape
from storage.lake import Lake
from storage.layout import Range
from tasks.activations.model_cache import evict_all
from tasks.cache import CacheWork, cache_shard

SHAPE = Shape(d=16, layers=2, heads=2, vocabulary=50, sequence=8, batch=3, k=4, shard=5)
SITES = ["layers.0", "layers.1"]
WIDTH, SEQUENCES = 256, 12


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A tiny workload, made."""
    folder = tmp_path_factory.mktemp("workload")
    made = {
        "folder": str(folder),
        "shape": asdict(SHAPE),
        "width": WIDTH,
        "sites": SITES,
        "sequences": SEQUENCES,
        "shard": SHAPE.shard,
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "warm": 1,
        "fresh": False,
        "out": str(folder / "gloss"),
    }
    workload.answer(made)
    return made


@pytest.fixture(scope="module")
def used(request_: dict[str, object]) -> Mapping[str, object]:
    """What the benchmark says of caching it."""
    return cached(request_)


def cached(request: dict[str, object]) -> Mapping[str, object]:
    """What the benchmark says of caching, as a process of its own that leaves no model behind."""
    try:
        return ours.answer(request)
    finally:
        evict_all()


def test_what_is_reported_is_what_the_task_made(
    request_: dict[str, object], used: Mapping[str, object]
) -> None:
    """Every shard has its part at every site, whose rows and bytes are counted; those of tokens are not."""
    lake = Lake(str(request_["out"]))
    firings = written = 0
    for site in SITES:
        parts = lake.files(ours.step(site).folder("activations"))
        assert [Range(0, 5), Range(5, 10), Range(10, 12)] == [Range.of(part) for part in parts]
        rows = lake.read("activations", [lake.path(part) for part in parts])
        assert {site} == set(rows["coder"].to_pylist())
        firings += len(rows)
        written += sum(parts.values())

    assert (firings, written) == (used["firings"], used["written_bytes"])
    assert 0 < float(str(used["write_s"])) < 2 * float(str(used["wall_s"]))


def test_the_task_makes_them(
    request_: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cache_shard` is called for each shard, and once before the clock runs, with another lake."""
    made: list[tuple[str, Range]] = []

    def noting(work: CacheWork, shard: Range) -> int:
        made.append((work.lake.uri, shard))
        return shard.end - shard.first

    monkeypatch.setattr(cache_shard, "fn", noting)
    used = ours.answer(request_ | {"out": str(tmp_path / "lake")})

    (elsewhere, warm), *measured = made
    assert Range(0, 1) == warm
    assert not Path(elsewhere).exists()
    shards = [Range(0, 5), Range(5, 10), Range(10, 12)]
    assert [(str(tmp_path / "lake"), shard) for shard in shards] == sorted(measured)
    assert SEQUENCES == used["firings"]


@pytest.mark.usefixtures("used")
def test_tokens_are_those_of_the_file(request_: dict[str, object]) -> None:
    """In the lake they lie as a run has packed them, with their texts."""
    lake = Lake(str(request_["out"]))
    asked = ours.work(lake, request_)
    parts = lake.files(asked.tokens.folder("tokens"))

    rows = lake.read("tokens", [lake.path(part) for part in parts])

    assert np.load(Path(str(request_["folder"])) / "tokens.npy").tolist() == rows["tokens"].to_pylist()
    assert (
        asked.subject.tokenizer().convert_ids_to_tokens(rows["tokens"][0].as_py())
        == rows["strings"][0].as_py()
    )
    assert list(range(SEQUENCES)) == rows["sequence"].to_pylist()


@pytest.mark.usefixtures("used")
def test_they_are_the_dense_ones(request_: dict[str, object]) -> None:
    """No firing differs from brute force, and nothing is compared with nothing."""
    result = check.answer(request_ | {"lake": request_["out"], "splits": None, "reference": SEQUENCES})

    counts = result["reference"]
    assert isinstance(counts, dict)
    assert counts["firings"] > 2 * SEQUENCES * 8
    assert 0 == counts["wrong"]
    assert counts["firings"] == counts["equal"] + counts["stepped"] + counts["tied"]


def test_another_coder_is_found_out(request_: dict[str, object], tmp_path: Path) -> None:
    """The check fails gloss when its lake holds another coder's firings."""
    swapped = request_ | {"sites": SITES[:1], "out": str(tmp_path / "lake")}
    cached(swapped)
    folder = tmp_path / "lake" / ours.step(SITES[0]).folder("activations")
    folder.rename(folder.parent / ours.step(SITES[1]).address)

    result = check.answer(
        request_ | {"sites": SITES[1:], "lake": swapped["out"], "splits": None, "reference": SEQUENCES}
    )

    counts = result["reference"]
    assert isinstance(counts, dict)
    assert counts["wrong"] > counts["equal"]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("fresh", [True, False])
def test_the_floor_multiplies_what_fires(
    request_: dict[str, object], fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its products hold the activations that gloss wrote, of all tokens at all sites."""
    seen: dict[int, list[torch.Tensor]] = {}
    multiply, addmm = floor.Encoder.multiply, torch.addmm
    now = 0

    def at_site(self: floor.Encoder, x: torch.Tensor) -> None:
        nonlocal now
        now = id(self)
        multiply(self, x)

    def noting(*args: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        made = addmm(*args, **options)
        seen.setdefault(now, []).append(made.clone())
        return made

    monkeypatch.setattr(floor.Encoder, "multiply", at_site)
    monkeypatch.setattr(torch, "addmm", noting)
    floor.answer(request_ | {"fresh": fresh})
    monkeypatch.undo()

    products = [torch.cat(blocks[1:]).numpy() for blocks in seen.values()]  # the first was for warming up
    for site, dense in zip(SITES, products, strict=True):
        fired = check.from_lake(str(request_["out"]), site, WIDTH, 8)
        assert (SEQUENCES * 8, WIDTH) == dense.shape
        np.testing.assert_allclose(dense.flatten()[fired.key], fired.value, rtol=1e-3)


def test_splits_count_from_their_first_feature(tmp_path: Path) -> None:
    """delphi's files are put together again, whatever order they are found in."""
    from safetensors.numpy import save_file  # noqa: PLC0415

    for name, rows, values in (
        ("0_49", [[0, 1, 7], [2, 0, 49]], [1.5, 2.5]),
        ("50_99", [[0, 1, 0]], [3.5]),
    ):
        split = {"locations": np.array(rows, np.uint16), "activations": np.array(values, np.float16)}
        save_file(split, tmp_path / f"{name}.safetensors")

    result = check.from_splits(tmp_path, 100, 8)

    assert [107, 150, 1649] == result.key.tolist()
    assert [1.5, 3.5, 2.5] == result.value.tolist()
