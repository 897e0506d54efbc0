"""What a Prefect server shows of a run made with `PREFECT_API_URL`."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.flows.command import gloss, write_config


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> Path:
    """The lake of a tiny run on this process' own server, which other processes' runs are not on."""
    folder = tmp_path_factory.mktemp("shown")
    ended = gloss(["run", str(write_config(folder, str(folder / "lake")))], prefect)
    assert ended.returncode == 0, ended.stderr
    return folder / "lake"


def _ask(api: str, what: str) -> list[dict]:
    """All that the server has of a kind, by as many pages as it takes."""
    rows: list[dict] = []
    while True:
        request = Request(
            f"{api}/{what}/filter",
            data=json.dumps({"limit": 200, "offset": len(rows), "sort": "ID_DESC"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as reply:
            page = json.load(reply)
        rows += page
        if not page:
            return rows


def _flows(lake: Path, environment: dict[str, str]) -> dict[str, dict]:
    """The flow runs that wrote into a lake, by their ids: other tests' runs are on this server too."""
    flows = _ask(environment["PREFECT_API_URL"], "flow_runs")
    return {flow["id"]: flow for flow in flows if flow["parameters"]["config"]["lake"] == lake.as_posix()}


def test_artifacts_tell_of_progress_scores_and_features(shown: Path, prefect: dict[str, str]) -> None:
    """A run leaves progress artifacts at 100, how often features fire, a table of scores and a markdown summary."""
    ours = _flows(shown, prefect)

    artifacts = [
        artifact
        for artifact in _ask(prefect["PREFECT_API_URL"], "artifacts")
        if artifact["flow_run_id"] in ours
    ]

    (summary,) = [artifact for artifact in artifacts if artifact["key"] == "summary"]
    assert summary["type"] == "markdown"
    (firings,) = [artifact for artifact in artifacts if artifact["key"] == "firings"]
    assert "never fired" in firings["data"]
    (table,) = [artifact for artifact in artifacts if artifact["key"] == "scores"]
    assert table["type"] == "table"
    assert {"detection", "fuzzing"} == {row["scorer"] for row in json.loads(table["data"])}
    progress = {
        artifact["description"]: artifact["data"] for artifact in artifacts if artifact["type"] == "progress"
    }
    assert {100.0} == set(progress.values()), progress
    assert "explanations by demo/exemplars" in progress


def test_flows_and_tasks_have_names_that_say_what_they_are(shown: Path, prefect: dict[str, str]) -> None:
    """A flow run is called as its run, a stage's as run and stage, and all of them are completed."""
    flows = _flows(shown, prefect).values()

    assert [
        ("Completed", name) for name in ("tiny", "tiny cache", "tiny explain", "tiny sample", "tiny score")
    ] == sorted((flow["state_name"], flow["name"]) for flow in flows)
