"""Makes lake.tar.xz, plan.json and requests.json: what gloss planned, asked and wrote at one commit.

`python -m tests.flows.golden_lake.make` in the root of a checkout writes all three; followed by `requests`, `plan` or
`lake`, only that one. The files in the repository were made at commit 88196b2. Whoever raises a VERSION makes them
again, since the lake's steps then have other fingerprints; the tests that compare plans and requests stay as they are.
A new kind of explainer or scorer needs only `requests`, and the diff must only add lines.
"""

import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from flows.cli import main
from flows.config import RunConfig
from flows.plan import Plan
from tests.flows.golden_lake.requests import requests
from tests.tasks.llm.faulty_server import Answer, Body, Fault, faulty_server, trial

FOLDER = Path(__file__).parent
LAKE, PLAN, REQUESTS = FOLDER / "lake.tar.xz", FOLDER / "plan.json", FOLDER / "requests.json"
RUNS = ("explainers", "scorers")


def config(run: str, lake: Path, url: str) -> dict[str, Any]:
    """The config of one of the runs in the lake, whose reader `judge` is at an address."""
    whole = yaml.safe_load((FOLDER / "run.yaml").read_text(encoding="utf-8"))
    whole["readers"]["judge"]["urls"] = [url]
    limits = {"coders": 1, "scorers": 1} if run == "explainers" else {"explainers": 1}
    return (
        whole | {key: whole[key][:count] for key, count in limits.items()} | {"run": run, "lake": str(lake)}
    )


def steps() -> list[dict[str, Any]]:
    """The steps of plan.yaml, with those of its readers' checks, as their manifests would have them."""
    plan = Plan(RunConfig.model_validate(yaml.safe_load((FOLDER / "plan.yaml").read_text(encoding="utf-8"))))
    return [
        {
            "stage": step.stage,
            "name": step.name,
            "tables": list(step.tables),
            "config": step.config,
            "version": step.version,
            "extent": step.extent,
            "fingerprint": step.fingerprint,
        }
        for step in (*(check.step for check in plan.checks), *plan.steps)
    ]


def behave(_number: int, body: Body) -> Answer:
    """Refuse some questions about several contexts as too long, depending on their text."""
    about_several = not trial(body) and "\nExample 2:" in _last_turn(body)
    return Fault.TOO_LONG if about_several and int(_digest(body)[0], 16) < 2 else Fault.NONE


def reply(body: Body) -> str:
    """A readable reply that depends only on the request."""
    question, digest = _last_turn(body), _digest(body)
    if "JSON object" in question:
        part = {"pattern": f"words of kind {digest[:8]}", "strength": 9}
        return json.dumps({"components": [part], "scope": None, "confidence": 0.5})
    if "\t" in question:
        return str(int(digest[0], 16) % 10)
    if not question.startswith("Description: "):
        return f"EXPLANATION: Words of kind {digest[:8]}."
    examples = len(re.findall(r"^Example \d+:", question, re.MULTILINE))
    verdicts = [int(digit, 16) % 2 for digit in digest[:examples]]
    return str(verdicts[0]) if body.get("logprobs") else str(verdicts)


def _last_turn(body: Body) -> str:
    """The text of a completion or of a chat's last turn; of several chats at once, that of the first."""
    turn = body["messages"][-1] if "messages" in body else body["prompt"]
    first = turn[-1] if isinstance(turn, list) else turn
    return first["content"] if isinstance(first, Mapping) else first


def _digest(body: Body) -> str:
    return sha256(json.dumps(body.get("messages") or body["prompt"]).encode()).hexdigest()


def write(file: Path, content: object) -> None:
    """Write JSON, a line per value."""
    file.write_text(f"{json.dumps(content, indent=1)}\n", encoding="utf-8")


def make_lake() -> None:
    """Run both, and pack the lake."""
    with tempfile.TemporaryDirectory() as folder, faulty_server(behave, reply) as server:
        lake = Path(folder, "lake")
        for run in RUNS:
            file = Path(folder, f"{run}.yaml")
            file.write_text(yaml.safe_dump(config(run, lake, server.url)), encoding="utf-8")
            assert main(["run", str(file)]) == 0
        with tarfile.open(LAKE, "w:xz") as packed:
            packed.add(lake, "lake")


def make(*names: str) -> None:
    """Make the files of these names, all if there are none."""
    files = {
        "requests": lambda: write(REQUESTS, requests()),
        "plan": lambda: write(PLAN, steps()),
        "lake": make_lake,
    }
    for name in names or files:
        files[name]()


if __name__ == "__main__":
    make(*sys.argv[1:])
