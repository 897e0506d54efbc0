"""docs/coders.md, docs/batch.md and docs/runs.md: what they say is done, or compared with what happens."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from flows import run_record
from flows.cli.main import main
from flows.config_file import load_config
from flows.plan import Plan
from flows.preflight import check_cache
from flows.unions import kinds
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake
from tasks.coders import Source
from tasks.coders.base import Place
from tasks.coders.saelens import SAELens
from tests.flows.cli.test_batch import _lines, _result, _write
from tests.flows.command import DEMO, ROOT, write_config

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = {name: ROOT / "docs" / f"{name}.md" for name in ("coders", "batch", "runs")}
CODER = DEMO / "coder" / "sparsify" / "layers.2" / "sae.safetensors"


def _blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def _marked(page: Path, mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```text\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


# docs/coders.md


def _weights() -> dict[str, torch.Tensor]:
    """The demo's coder, by the names of the page's example."""
    found = load_file(CODER)
    names = {"W_enc": found["encoder.weight"].T, "W_dec": found["W_dec"]}
    return names | {"b_enc": found["encoder.bias"], "b_dec": found["b_dec"]}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page's example writes of the demo's weights, where it writes it."""
    monkeypatch.chdir(tmp_path)
    (code,) = _blocks(PAGES["coders"], "python")
    exec(code, _weights())
    return tmp_path / "my-sae"


def _at(folder: Path, site: str | None) -> Plan:
    """A run with the page's coder at a site of its own."""
    (text,) = _blocks(PAGES["coders"], "yaml")
    (coder,) = yaml.safe_load(text)["coders"]
    config = write_config(folder, str(folder / "lake"), coders=[{**coder, "site": site}])
    return Plan(load_config(config))


def test_the_example_fits_as_the_page_says(mine: Path) -> None:
    """The folder that it writes is loaded, and the gate says of it what the page shows; with or without the site."""
    said = _marked(PAGES["coders"], "fit").splitlines()
    assert said == check_cache(_at(mine.parent, "layers.2")) == check_cache(_at(mine.parent, None))


def test_other_sites_fit_as_the_page_says(mine: Path) -> None:
    """Worse, and yet they are taken; one of another width is not."""
    said = _marked(PAGES["coders"], "sites").splitlines()
    sites = [re.split(r" at |: ", line)[1] for line in said]
    assert said == [line for site in sites for line in check_cache(_at(mine.parent, site))]
    assert len(sites) > 2
    with pytest.raises(WrongRequest, match=r"gives vectors of 512: name a site of that width"):
        check_cache(_at(mine.parent, "layers.2.mlp.down_proj.input"))


def _top(pre: torch.Tensor, k: int, ranked: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(pre).scatter(1, ranked.topk(k).indices, 1.0) * pre


RULES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "standard": lambda pre, _: pre.relu(),
    "topk": lambda pre, _: _top(pre, 24, pre).relu(),
    "abstopk": lambda pre, _: _top(pre, 24, pre.abs()),
    "jumprelu": lambda pre, threshold: torch.where(pre > threshold, pre, 0.0),
}


@pytest.mark.parametrize("subtracts", [True, False])
@pytest.mark.parametrize("architecture", RULES)
def test_rules_fire_as_the_page_says(mine: Path, architecture: str, *, subtracts: bool) -> None:
    """By the formulas of its table, for what the example writes with another architecture."""
    assert f'"architecture": "{architecture}"' in PAGES["coders"].read_text(encoding="utf-8")
    weights = _weights()
    threshold = torch.full([weights["b_enc"].numel()], 0.5)
    config = json.loads((mine / "cfg.json").read_text(encoding="utf-8"))
    config |= {"architecture": architecture, "apply_b_dec_to_input": subtracts}
    (mine / "cfg.json").write_text(json.dumps(config), encoding="utf-8")
    if architecture == "jumprelu":
        from safetensors.torch import save_file  # noqa: PLC0415

        stored = load_file(mine / "sae_weights.safetensors")
        save_file(stored | {"threshold": threshold}, mine / "sae_weights.safetensors")
    x = torch.randn(7, len(weights["b_dec"]), generator=torch.Generator().manual_seed(0))

    coder = SAELens(path=str(mine)).load("layers.2", Place("layers.2", x.shape[1]))
    fired = coder.encode(x)

    found = torch.zeros(len(x), coder.width)
    found[fired.token, fired.feature] = fired.activation
    pre = (x - subtracts * weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    expected = RULES[architecture](pre, threshold)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    decoded = expected @ weights["W_dec"] + weights["b_dec"]
    torch.testing.assert_close(coder.reconstruct(x, fired), decoded, atol=1e-3, rtol=1e-3)


def test_the_page_has_every_format() -> None:
    """A row for each kind of source, and none of others."""
    table = PAGES["coders"].read_text(encoding="utf-8").split("## Formats")[1]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert kinds(Source).keys() - {"auto"} == named


# docs/batch.md


def test_adaptive_scorers_are_written_whole(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many requests as without, and those behind the last round that was needed are told and not kept."""
    shutil.copytree(undisturbed, tmp_path / "lake")
    judge = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "tiny"}
    readers = {"baseline": {"kind": "baseline"}, "judge": judge}
    written = []
    for adaptive in (None, {"half_width": 0.2}):
        scorer = {"kind": "detection", "reader": "judge", "adaptive": adaptive}
        config = write_config(tmp_path, str(tmp_path / "lake"), readers=readers, scorers=[scorer])
        file = tmp_path / f"{adaptive is None}.jsonl"
        assert 0 == main(["batch", "write", str(config), "score", str(file)])
        written.append({line["custom_id"] for line in _lines(file)})
    assert written[0] == written[1]

    results = _write(tmp_path / "results", [_result(line) for line in _lines(tmp_path / "False.jsonl")])
    capsys.readouterr()
    assert 0 == main(["batch", "read", str(config), str(results)])
    assert "belong to no request that is still to be asked" in capsys.readouterr().out
    assert 0 == main(["batch", "write", str(config), "score", str(tmp_path / "again.jsonl")])
    assert not (tmp_path / "again.jsonl").exists()


# docs/runs.md


@pytest.fixture
def lake(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake where the page looks for one, with a finished run."""
    shutil.copytree(undisturbed, tmp_path / "gloss-lake")
    monkeypatch.chdir(tmp_path)
    return Lake("gloss-lake")


def _rows(lake: Lake) -> dict[tuple[str, str], int]:
    """Rows of each run's scores, by scorer."""
    with lake.connect() as connection:
        runs.attach(lake, connection)
        found = connection.sql("select run, scorer, count(*) from scores group by all").fetchall()
    return {(run, scorer): count for run, scorer, count in found}


def _unnamed() -> list[Path]:
    """What the page's lines print."""
    known: dict = {}
    (code,) = _blocks(PAGES["runs"], "python")
    exec(code, known)
    return known["unnamed"]


def _plan(folder: Path, **changes: object) -> Plan:
    return Plan(load_config(write_config(folder, "gloss-lake", **changes)))


def test_a_run_that_is_defined_anew_loses_no_rows(lake: Lake, tmp_path: Path) -> None:
    """They leave its views, and come back with its old config; what the page then prints can go."""
    before = _rows(lake)
    assert {"detection", "fuzzing"} == {scorer for _, scorer in before}
    assert [] == _unnamed()

    anew = _plan(tmp_path, scorers=[{"kind": "detection", "reader": "baseline"}])
    run_record.record_run(anew)
    assert {"detection"} == {scorer for _, scorer in _rows(lake)}
    left = _unnamed()
    assert {"manifests", "judgements", "requests", "scores"} == {
        place.relative_to("gloss-lake").parts[0] for place in left
    }
    run_record.record_run(_plan(tmp_path))
    assert before == _rows(lake)

    run_record.record_run(anew)
    for place in left:
        place.unlink() if place.is_file() else shutil.rmtree(place)
    assert () == anew.unfinished("cache", "sample", "explain", "score")
    assert {key: rows for key, rows in before.items() if key[1] == "detection"} == _rows(lake)


def test_a_run_is_hidden_by_its_record_and_removed_without_what_others_share(
    lake: Lake, tmp_path: Path
) -> None:
    """Another run over the same cache has all of its own afterwards."""
    other = _plan(tmp_path, run="other", scorers=[{"kind": "fuzzing", "reader": "baseline"}])
    run_record.record_run(other)
    before = _rows(lake)

    Path("gloss-lake/runs/tiny.json").unlink()
    kept = {key: rows for key, rows in before.items() if key[0] == "other"}
    assert kept == _rows(lake)
    for place in _unnamed():
        place.unlink() if place.is_file() else shutil.rmtree(place)
    assert kept == _rows(lake)
    assert () == other.unfinished("cache", "sample", "explain", "score")
    assert _plan(tmp_path).unfinished("score")
