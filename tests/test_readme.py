"""What the README says can be typed."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from flows.cli.main import parser
from flows.config import RunConfig

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deployments" / "README.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _fences(language: str) -> list[str]:
    return [body for page in PAGES for found, body in FENCE.findall(page.read_text()) if found == language]


COMMANDS = [line for body in _fences("") for line in body.splitlines() if line.startswith("gloss ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_one(line: str) -> None:
    """A gloss command in the docs is accepted by the command's own parser."""
    words = shlex.split(line, comments=True)

    assert parser().parse_args(words[1:])


@pytest.mark.parametrize("body", _fences("yaml"))
def test_every_config_is_one(body: str) -> None:
    """A run config in the docs validates."""
    assert RunConfig.model_validate(yaml.safe_load(body))


def test_every_link_leads_somewhere() -> None:
    """Relative links in the docs point at files that are there."""
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not target.startswith("http")
    ]

    assert [] == [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()]


def test_the_demo_in_the_readme_is_the_demo() -> None:
    """The README shows the end of a real `make demo`, as docs/demo.txt keeps it."""
    shown = re.search(
        r"<!-- demo:.*?-->\n```\n(.*?)```\n<!-- end -->", (ROOT / "README.md").read_text(), re.DOTALL
    )

    assert shown is not None
    assert (ROOT / "docs" / "demo.txt").read_text() == shown[1]
