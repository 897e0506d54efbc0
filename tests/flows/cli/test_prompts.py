"""`gloss prompts`: what readers are sent, to be read by people."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.main import main
from flows.cli.prompts import prompts, toy, turns
from flows.config_file import load_config
from tasks.contexts import render
from tasks.explainers import Explainer
from tasks.fields import kinds
from tasks.llm import prompt
from tasks.llm.request import RequestKey
from tasks.scorers import Scorer
from tests.flows.command import ROOT, TINY, write_config


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert 0 == main(["prompts", *arguments])
    return capsys.readouterr().out


def sections(text: str) -> dict[str, str]:
    """What is printed of each component."""
    result = [part.partition("\n") for part in text.split("=== ")[1:]]
    return {title: rest for title, _, rest in result}


def test_every_kind_of_both_unions_appears(capsys: pytest.CaptureFixture[str]) -> None:
    """Each asks something about the feature, but those that ask nobody; some scorers once more, told otherwise."""
    result = sections(printed(capsys))
    every = {f"explainer {kind}" for kind in kinds(Explainer)} | {f"scorer {kind}" for kind in kinds(Scorer)}
    assert every <= {*result}
    assert all(title.startswith(tuple(every)) for title in result)
    silent = {title for title, text in result.items() if "---" not in text}
    assert {"explainer single_token", "explainer import"} == silent
    assert all("It asks no reader." in result[title] for title in silent)


def test_prompts_are_printed_word_for_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Long lines whole, brackets as they are, the feature's own turn last."""
    result = sections(printed(capsys))["explainer exemplars"]
    assert prompt.read_prompt("tasks.explainers", "exemplars.prompt.txt") in result
    shown = render.read(result)[-8:]
    assert [item.text for item in shown[:2]] == [
        "the lighthouse keeper slept through the storm",
        "a far lighthouse⏎stood ‹‹there alone",
    ]


def test_every_prompt_file_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Up to its slots, tabs as they are."""
    message = printed(capsys)
    files = [
        (package, file)
        for package in ("explainers", "scorers")
        for file in (ROOT / "tasks" / package).iterdir()
    ]
    prompts_of = [(package, file) for package, file in files if file.name.endswith(".prompt.txt")]
    assert len(prompts_of) > 15
    for package, file in prompts_of:
        for piece in re.split(r"\{[a-z_]+\}", prompt.read_prompt(f"tasks.{package}", file.name)):
            assert piece.strip() in message, file.name
    assert "\t" in sections(message)["scorer simulation"]


@pytest.mark.e2e
def test_a_pipe_gets_plain_text() -> None:
    """No colours, no codes, no lines broken at the width of a terminal."""
    command = [sys.executable, "-m", "flows.cli", "prompts"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert prompt.read_prompt("tasks.explainers", "contrastive.prompt.txt") in done.stdout


def test_a_config_shows_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its components by their names, with their options, and nothing else."""
    (tmp_path / "mine.txt").write_text("Say what it is.")
    other = {"kind": "exemplars", "reader": "baseline", "prompt": str(tmp_path / "mine.txt")}
    explainers = [{"kind": "single_token", "otherwise": other}]
    scorers = [{"kind": "detection", "name": "two at once", "reader": "baseline", "shown": 2}]
    config = write_config(tmp_path, "./lake", explainers=explainers, scorers=scorers)
    result = sections(printed(capsys, str(config), "--set", "scorers.0.shown=3"))
    assert ["explainer single_token, otherwise exemplars", "scorer two at once"] == [*result]
    assert "--- system\nSay what it is.\n" in result["explainer single_token, otherwise exemplars"]
    assert 3 == len(render.read(result["scorer two at once"].rsplit("Description: ", 1)[1]))


def test_what_chooses_among_replicates_is_shown(tmp_path: Path) -> None:
    """The explainer doesn't see what is held out, and detection is asked about nothing else."""
    config = load_config(write_config(tmp_path, "./lake"))
    best = {"held_out": 2, "shown": 9}
    options = {"kind": "exemplars", "reader": "baseline", "temperature": 1, "replicates": 2, "best_of": best}
    explainer = type(config.explainers[0]).model_validate(options)
    shown, judged = prompts([explainer], [])
    assert ("explainer exemplars", "explainer exemplars, best_of") == (shown.title, judged.title)
    assert shown.request is not None
    assert judged.request is not None
    assert set() == {*shown.request.contexts} & {*judged.request.contexts}
    assert 6 == len(shown.request.contexts)
    assert [False, False, True, True] == sorted(judged.request.truths)


def test_parts_of_a_question_are_shown_with_their_number() -> None:
    """The first of them, each with what it is."""
    feature, explanation = toy()
    each = [model.model_validate({"kind": kind, "reader": "r"}) for kind, model in kinds(Scorer).items()]
    asked = [item.requests(RequestKey(7, 0, "none"), explanation, feature) for item in each]  # type: ignore[attr-defined]
    whole = [request for requests in asked for request in requests if request.parts]
    assert whole
    for request in whole:
        headings = [heading for heading, _ in turns(request)]
        assert headings[0].startswith(f"part 1 of {len(request.parts)}: ")
        assert all(text for _, text in turns(request))


def test_a_setting_without_a_config_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing that it could change; nor is a config that is not there."""
    assert 2 == main(["prompts", "--set", "seed=3"])
    assert "--set seed=3 changes a config, and none is given" in capsys.readouterr().err
    assert 2 == main(["prompts", str(ROOT / "nowhere.yaml")])
    assert TINY["run"] not in capsys.readouterr().out
