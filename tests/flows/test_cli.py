"""The help of `gloss`, and the commands that it proposes at the end of a run."""

import argparse
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import __version__
from flows.cli.main import main, parser
from tests.flows.command import write_config

COMMANDS = (
    *((name,) for name in ("run", "cache", "sample", "explain", "score", "check", "estimate")),
    *((name,) for name in ("status", "tables", "verify", "prompts", "batch", "sql")),
    ("batch", "write"),
    ("batch", "read"),
)


def _help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert 0 == ended.value.code
    return capsys.readouterr().out


def test_its_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is installed."""
    assert f"gloss {__version__}\n" == _help(("--version",), capsys)


def test_the_commands_are_those_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    """None is left out here."""
    listed = re.findall(r"^    (\w+)", _help(("--help",), capsys), re.MULTILINE)
    assert [words[0] for words in COMMANDS if len(words) == 1] == listed


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sentence, and of each argument what it is."""
    monkeypatch.setenv("COLUMNS", "200")
    usage, does, *groups = _help((*words, "--help"), capsys).strip().split("\n\n")
    assert usage.startswith(f"usage: gloss {' '.join(words)} ")
    assert re.fullmatch(r"[A-Z][^\n]+\.", does)
    (placed,) = [group for group in groups if group.startswith("positional arguments:")] or [""]
    for line in placed.splitlines()[1:]:
        assert re.match(r" +\S+ {2,}\S|  COMMAND$", line), line


def _parsers(within: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands."""
    for action in within._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from _parsers(command)


@pytest.mark.parametrize("command", list(_parsers(parser())), ids=lambda command: command.prog)
def test_every_command_has_an_example_that_it_understands(command: argparse.ArgumentParser) -> None:
    """The example ends the command's help, fits on 80 columns, and the parser takes it."""
    *_, heading, example = command.format_help().splitlines()

    assert "example:" == heading
    assert len(example) <= 80
    assert example.startswith(f"  {command.prog} ")
    options = parser().parse_args(shlex.split(example)[1:])
    assert callable(options.act)


def test_the_help_begins_with_three_commands_for_a_newcomer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser takes them, and the config that they name is there."""
    monkeypatch.setenv("COLUMNS", "80")
    first, _ = _help(("--help",), capsys).split("positional arguments:")
    assert 80 >= max(map(len, first.splitlines()))

    examples = [
        shlex.split(re.split(r"  +", line.strip())[0]) for line in first.splitlines() if "  gloss" in line
    ]
    assert [["gloss", "run"], ["gloss", "status"], ["gloss", "sql"]] == [words[:2] for words in examples]
    for words in examples:
        options = parser().parse_args(words[1:])
        assert "config" not in options or (Path(__file__).parents[2] / options.config).is_file()


@pytest.mark.parametrize("others", [[], ["other"]])
def test_the_next_question_is_about_this_run(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], others: list[str]
) -> None:
    """Named where the lake has others, whose rows would stand between."""
    lake = tmp_path / "a lake"
    shutil.copytree(undisturbed, lake)
    for other in others:
        shutil.copy(lake / "runs" / "tiny.json", lake / "runs" / f"{other}.json")
    config = write_config(tmp_path, "elsewhere")

    assert 0 == main(["run", str(config), "--lake", str(lake), "--set", "seed=22"])

    *_, question, tables, again = capsys.readouterr().out.splitlines()
    run = " --run tiny" if others else ""
    assert question.startswith(f"  gloss sql --lake '{lake}'{run} \"select feature, explanation, ")
    assert f"  gloss tables --lake '{lake}'" == tables
    assert f"  gloss run {config} --set seed=22 --lake '{lake}'   # again: nothing is redone" == again
