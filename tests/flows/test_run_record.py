"""A run on a lake that an earlier version made: what is made anew, why, and what it asks."""

import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from flows.config_file import load_config
from flows.plan import STAGES, Plan
from flows.run_record import VERSIONS, redone
from storage import runs
from tasks.contexts import render
from tasks.contexts.special_tokens import broken_up
from tasks.contexts.visible import NOTES
from tests.flows.command import ROOT, gloss
from tests.flows.earlier_lake.make import HERE, answer
from tests.tasks.llm.faulty_server import faulty_server


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The config of the run, beside a fresh copy of its lake."""
    monkeypatch.chdir(ROOT)
    with tarfile.open(HERE / "lake.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    config = yaml.safe_load((HERE / "run.yaml").read_text())
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**config, "lake": str(tmp_path / "lake")}))
    yield file
    shutil.rmtree(tmp_path / "lake")


def _line(plan: Plan) -> str:
    return redone(plan, runs.record(plan.lake, "earlier")) or ""


def test_only_what_has_changed_since_is_made_anew(earlier: Path) -> None:
    """Of today's lake the trained coder's tokens and activations stay; the random coder's cache is made anew."""
    plan = Plan(load_config(earlier))
    trained, random = plan.coders

    unfinished = set(plan.unfinished(*STAGES))

    assert not {plan.tokens, trained.activations} & unfinished
    assert {trained.features, trained.contexts} <= unfinished
    assert {random.activations, random.features, random.contexts} <= unfinished
    assert {explaining.step for explaining in plan.explanations} <= unfinished


def test_one_line_says_which_steps_are_made_anew_and_why(earlier: Path) -> None:
    """The line names stages, the first of their steps, and what changed: a version or keys of a config."""
    line = _line(Plan(load_config(earlier)))

    assert "\n" not in line
    assert re.search(r"activations of noise \(changed: coder.digest\)", line), line
    assert VERSIONS["explanations", 5] in line
    assert "explanations of demo/exemplars and 1 more" in line


def test_every_version_since_has_its_reason(earlier: Path) -> None:
    """A version that was raised says what it changes."""
    assert "its code has version" not in _line(Plan(load_config(earlier)))


def test_a_changed_config_is_named_by_its_keys(earlier: Path) -> None:
    """Another temperature makes explanations anew, and what is made from them."""
    settings = ("explainers.0.temperature=0.7", "sample.explain=5")

    line = _line(Plan(load_config(earlier, settings)))

    assert "sampling.explain" in line
    assert "component.temperature" in line


def test_a_step_that_only_grows_is_not_reported(earlier: Path) -> None:
    """More tokens add parts: those that are there are used again."""
    line = _line(Plan(load_config(earlier, ("corpus.tokens=10240",))))

    assert not line.startswith("Made anew: tokens")
    assert "activations of demo" not in line


@pytest.mark.e2e
def test_unchanged_questions_are_answered_by_kept_replies(earlier: Path, prefect: dict[str, str]) -> None:
    """Run again by today's code, a lake of before asks only what is asked in other words, and keeps its cache."""
    config, lake = yaml.safe_load(earlier.read_text()), earlier.parent / "lake"
    config["coders"] = [coder for coder in config["coders"] if coder["name"] == "demo"]
    config["sample"]["apart"] = "window"  # as it was when nothing was said of it
    parts = {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet") if "replies" not in path.parts}
    answered = _kept(lake)
    with faulty_server(answer) as server:
        config["readers"]["judge"]["urls"] = [server.url]
        earlier.write_text(yaml.safe_dump(config))
        ended = gloss(["run", str(earlier), "--no-check"], prefect)
        questions = {body["messages"][-1]["content"] for body in server.questions}

    assert 0 == ended.returncode, ended.stderr
    assert "Made anew: " in ended.stderr
    assert parts == {path: path.stat().st_mtime_ns for path in parts}
    assert [] == [question for question in questions if not _has_another_wording(question)]
    assert len(questions) < answered


def _has_another_wording(question: str) -> bool:
    """Whether it is a judge's, which now end in what is asked, shows a sign, or has a broken up control token."""
    joined = re.sub(r"(?<=[<|/\[]) ", "", question)
    signs = any(sign in question for sign in NOTES)
    return render.read_question(question) is not None or signs or broken_up(joined) != joined


def _kept(lake: Path) -> int:
    """How many replies the lake keeps."""
    return sum(pq.read_metadata(file).num_rows for file in (lake / "replies").rglob("*.parquet"))
