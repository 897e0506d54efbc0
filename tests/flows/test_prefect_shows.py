"""What a Prefect server shows of a run made with `PREFECT_API_URL`."""

import json
from pathlib import Path
from urllib.request import Request, urlopen


def _ask(api: str, what: str) -> list[dict]:
    request = Request(
        f"{api}/{what}/filter", data=b'{"limit": 200}', headers={"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=30) as reply:
        return json.load(reply)


def test_artifacts_tell_of_progress_scores_and_features(undisturbed: Path, prefect: dict[str, str]) -> None:
    """A run leaves progress artifacts at 100, a table of scores and a markdown summary."""
    assert undisturbed.is_dir()

    artifacts = _ask(prefect["PREFECT_API_URL"], "artifacts")

    found = {(artifact["key"], artifact["type"]) for artifact in artifacts}
    assert {("scores", "table"), ("summary", "markdown")} <= found
    (table,) = [artifact for artifact in artifacts if artifact["key"] == "scores"][:1]
    assert {"detection", "fuzzing"} == {row["scorer"] for row in json.loads(table["data"])}
    # Other tests' runs on this server may have failed on the way.
    done: dict[str, float] = {}
    for artifact in artifacts:
        if artifact["type"] == "progress":
            title = artifact["description"]
            done[title] = max(artifact["data"], done.get(title, 0))
    assert {100.0} == set(done.values()), done
    assert "explanations by demo/exemplars" in done


def test_flows_and_tasks_have_names_that_say_what_they_are(
    undisturbed: Path, prefect: dict[str, str]
) -> None:
    """A flow run is called as its run, a stage's as run and stage, and all of them are completed."""
    assert undisturbed.is_dir()

    flows = _ask(prefect["PREFECT_API_URL"], "flow_runs")

    wanted = {"tiny", "tiny cache", "tiny sample", "tiny explain", "tiny score"}
    assert wanted <= {flow["name"] for flow in flows if flow["state_name"] == "Completed"}
