"""A deployment's schedule makes runs: Prefect's scheduler works with the versions that gloss is installed with."""

import json
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

PATIENCE = 60
"""Seconds for the scheduler, which looks for new deployments every five, on however busy a machine."""


def _post(api: str, path: str, content: dict) -> list | dict:
    """What the server answers; while its database is locked, as it says with 503, it is asked again."""
    request = Request(
        f"{api}/{path}", data=json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(request, timeout=30) as reply:
                return json.load(reply)
        except HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@pytest.mark.e2e
def test_a_schedule_makes_runs(prefect: dict[str, str]) -> None:
    """A deployment with a schedule of every minute soon has runs that wait for their time."""
    api = prefect["PREFECT_API_URL"]
    flow = _post(api, "flows/", {"name": "scheduled"})
    assert isinstance(flow, dict)
    schedule = {"schedule": {"interval": 60, "timezone": "UTC"}, "active": True}
    deployment = {
        "name": "every minute",
        "flow_id": flow["id"],
        "entrypoint": "flows/run.py:run",
        "schedules": [schedule],
    }
    made = _post(api, "deployments/", deployment)
    assert isinstance(made, dict)

    deadline = time.monotonic() + PATIENCE
    runs: list | dict = []
    while not runs and time.monotonic() < deadline:
        time.sleep(0.5)
        runs = _post(api, "flow_runs/filter", {"deployments": {"id": {"any_": [made["id"]]}}})

    assert runs
    assert {"SCHEDULED"} == {run["state_type"] for run in runs}
