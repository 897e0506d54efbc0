"""A lake that an earlier commit made is found complete: the same steps, the same requests, nothing redone.

Made by `python -m tests.flows.golden_lake.make`, which says when it is made again.
"""

import asyncio
import json
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.config import RunConfig
from flows.plan import STAGES, Plan, Scoring
from flows.replay import unanswered
from storage.layout import Step
from tasks.explainers import Explainer
from tasks.fields import kinds
from tasks.scorers import Scorer
from tests.flows.command import ROOT, gloss
from tests.flows.golden_lake import make
from tests.flows.golden_lake.requests import requests
from tests.tasks.llm.faulty_server import faulty_server

NO_SERVER = "http://127.0.0.1:1/v1"
SQL_HASH = "statements"
"""Key of a step of scores that holds the hash of their SQL, where a comment counts too."""

Recorded = Mapping[tuple[str, str], dict[str, Any]]
"""What was recorded of each step, by stage and name."""


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the repository's root, from which the configs name their files."""
    monkeypatch.chdir(ROOT)


def _unpacked(folder: Path) -> Path:
    with tarfile.open(make.LAKE) as packed:
        packed.extractall(folder, filter="data")
    return folder / "lake"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake; tests only read it."""
    return _unpacked(tmp_path_factory.mktemp("golden"))


def _plan(run: str, lake: Path, url: str = NO_SERVER) -> Plan:
    return Plan(RunConfig.model_validate(make.config(run, lake, url)))


def _by_name(steps: Iterable[dict[str, Any]]) -> Recorded:
    return {(step["stage"], step["name"]): step for step in steps}


def _manifests(lake: Path, run: str) -> Recorded:
    """The manifests of a run's steps, as the lake's record of the run lists them."""
    record = json.loads((lake / "runs" / f"{run}.json").read_text())
    manifests = [json.loads((lake / step["manifest"]).read_text()) for step in record["steps"]]
    return _by_name({**manifest, "tables": list(manifest["parts"])} for manifest in manifests)


def _as_recorded(step: Step, recorded: Recorded) -> Step:
    """A step with the version that it had, and its parents likewise; and with the SQL that scores had."""
    before = recorded[step.stage, step.name]
    sql_hash = {SQL_HASH: before["config"][SQL_HASH]} if SQL_HASH in step.config else {}
    parents = tuple(_as_recorded(parent, recorded) for parent in step.parents)
    return replace(step, version=before["version"], config={**step.config, **sql_hash}, parents=parents)


def _compare(steps: Mapping[tuple[str, str], Step], recorded: Recorded) -> None:
    """Assert that some steps are those that were recorded, in all but versions and the hash of the scores' SQL."""
    assert list(recorded) == list(steps)
    for key, step in steps.items():
        before, now = recorded[key], _as_recorded(step, recorded)
        assert before["config"] == json.loads(json.dumps(now.config)), key
        assert before["extent"] == now.extent, key
        assert sorted(before["tables"]) == sorted(now.tables), key
        assert before["fingerprint"] == now.fingerprint, key


@pytest.mark.parametrize("run", make.RUNS)
def test_the_plan_of_a_run_has_the_steps_of_its_manifests(lake: Path, run: str) -> None:
    """Stage, name, config, extent and tables are equal, and fingerprints where versions are."""
    steps = {(step.stage, step.name): step for step in _plan(run, lake).steps}

    _compare(steps, _manifests(lake, run))


def test_what_is_not_in_the_lake_is_planned_as_before() -> None:
    """Trained coders, neurons, embeddings of windows and the checks of readers."""
    recorded = _by_name(json.loads(make.PLAN.read_text()))
    config = RunConfig.model_validate(yaml.safe_load((make.FOLDER / "plan.yaml").read_text()))
    plan = Plan(config)
    steps = (*(check.step for check in plan.checks), *plan.steps)

    _compare({(step.stage, step.name): step for step in steps}, recorded)
    assert [before["tables"] for before in recorded.values()] == [list(step.tables) for step in steps]


@pytest.mark.parametrize("run", make.RUNS)
def test_nothing_but_scores_is_unfinished(lake: Path, run: str) -> None:
    """No version was raised and nothing else has another fingerprint; if one was, the lake is to be made again."""
    assert {"scores"} >= {step.stage for step in _plan(run, lake).unfinished(*STAGES)}


def _recorded_requests() -> dict[str, list[str]]:
    return json.loads(make.REQUESTS.read_text())


@pytest.mark.parametrize("name", _recorded_requests())
def test_requests_are_those_of_before(name: str, current: dict[str, list[str]]) -> None:
    """Keys, fingerprints and order, so that cached replies are found again."""
    assert _recorded_requests()[name] == current[name]


@pytest.fixture(scope="module")
def current() -> dict[str, list[str]]:
    """The requests that today's code makes."""
    return requests()


def test_requests_of_every_kind_are_recorded(current: dict[str, list[str]]) -> None:
    """Of a new kind, too: `python -m tests.flows.golden_lake.make requests` adds it."""
    every = [
        *(f"explainer {kind}" for kind in kinds(Explainer)),
        *(f"scorer {kind}" for kind in kinds(Scorer)),
    ]
    assert [] == [name for name in [*every, *current] if name not in _recorded_requests()]
    assert {"explainer single_token", "explainer import"} == {name for name in current if not current[name]}


@pytest.mark.parametrize(
    "part", ["/half ", "/half1 ", "/half1/half2 ", "0/1 ", "/held_out/", "0/0/shuffled/"]
)
def test_requests_have_keys_of_all_forms(part: str) -> None:
    """Halves, replicates, those held out to choose among them, and the shuffled control."""
    assert any(part in line for lines in _recorded_requests().values() for line in lines)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """A fresh copy of the lake."""
    yield _unpacked(tmp_path)
    shutil.rmtree(tmp_path / "lake")


@pytest.mark.parametrize("run", make.RUNS)
def test_every_request_has_its_cached_reply(copy: Path, run: str) -> None:
    """Without explanations and judgements nothing is asked again; only another scorer's requests are new."""
    plan = _plan(run, copy)
    for askers in (
        [scoring for scoring in plan.scores if scoring.scorer.reader == "judge"],
        [asker for asker in plan.explanations if "judge" in asker.explainer.readers.values()],
    ):
        _remove(copy, [asker.judgements if isinstance(asker, Scoring) else asker.step for asker in askers])
        assert not askers or 0 == asyncio.run(unanswered(plan, "judge", askers))

    scorers = {"scorers": [{"kind": "detection", "reader": "judge", "kinds": ["silent"]}]}
    other = Plan(RunConfig.model_validate({**make.config("scorers", copy, NO_SERVER), **scorers}))
    assert 0 < (asyncio.run(unanswered(other, "judge", other.scores)) or 0)


def _remove(lake: Path, steps: Sequence[Step]) -> None:
    """Remove the parts and the manifests of some steps."""
    for step in steps:
        (lake / step.manifest).unlink()
        for table in step.tables:
            shutil.rmtree(lake / step.folder(table))


@pytest.mark.parametrize("run", make.RUNS)
def test_running_again_redoes_nothing_but_scores_and_sends_no_request(
    copy: Path, prefect: dict[str, str], tmp_path: Path, run: str
) -> None:
    """No part and no manifest of another step is written, and the server gets no request."""
    before = _written(copy)
    with faulty_server(make.behave, make.reply) as server:
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump(make.config(run, copy, server.url)))
        ended = gloss(["run", str(file)], prefect)

        assert 0 == ended.returncode, ended.stderr
        assert [] == server.requests
    assert before == _written(copy)
    assert () == _plan(run, copy).unfinished(*STAGES)


def _written(lake: Path) -> dict[str, int]:
    """When each part and manifest was written, but for those of scores; by path."""
    files = (file.relative_to(lake) for file in lake.rglob("*.*") if file.suffix in {".parquet", ".json"})
    return {
        str(file): (lake / file).stat().st_mtime_ns
        for file in files
        if "scores" not in file.parts and file.parts[0] != "runs"
    }
