"""README.md and the pages of docs/: what they say can be typed, and what they show was made."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from flows.cli.main import parser
from flows.config import RunConfig
from flows.config_file import load_config
from flows.plan import STAGES, Plan
from storage.tables import TABLES
from tests.docs.generator import generator
from tests.docs.pages import DOCS, PAGES, README, ROOT, blocks, commands
from tests.flows.command import CORPUS, TOY

FIRST_COMMANDS = [line for line in commands(README) if "my-sae.yaml" in line]


@pytest.mark.parametrize("line", [line for page in PAGES.values() for line in commands(page)])
def test_every_command_is_one(line: str) -> None:
    """A gloss command in the docs is accepted by the command's own parser."""
    assert parser().parse_args(shlex.split(line, comments=True)[1:])


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The README's config as a file."""
    (body,) = blocks(README, "yaml")
    file = tmp_path / "my-sae.yaml"
    file.write_text(body, encoding="utf-8")
    return file


def test_the_readme_is_short() -> None:
    """A researcher's own SAE takes a config of 12 lines and three commands, and the whole page 130 lines."""
    (config,) = blocks(README, "yaml")
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130
    assert (12, 3) == (len(config.splitlines()), len(FIRST_COMMANDS))


@pytest.mark.parametrize("line", FIRST_COMMANDS)
def test_the_commands_of_the_readme_fit_its_config(shown: Path, line: str) -> None:
    """With what they set."""
    options = parser().parse_args(shlex.split(line, comments=True)[1:])
    assert "my-sae" == load_config(shown, tuple(options.set)).run


def test_the_config_of_the_readme_plans_a_run(shown: Path, tmp_path: Path) -> None:
    """With a model, text and coder of this machine in its places there are steps for every table."""
    places = {
        "subject.model": TOY / "subject",
        "corpus.path": CORPUS,
        "coders.0.source.path": TOY / "coder" / "sparsify",
        "coders.0.site": "layers.2",
        "lake": tmp_path / "lake",
    }
    plan = Plan(load_config(shown, tuple(f"{key}={value}" for key, value in places.items())))

    planned = {table for step in plan.unfinished(*STAGES) for table in step.tables}
    assert set(TABLES) - {"embeddings"} == planned


@pytest.mark.parametrize(
    "body", [body for page in PAGES.values() for body in blocks(page, "yaml") if ":" in body.split("\n")[0]]
)
def test_every_config_is_one(shown: Path, body: str) -> None:
    """A run config in the docs validates, or a part of one in the place of the README's."""
    part = yaml.safe_load(body)
    config = yaml.safe_load(shown.read_text(encoding="utf-8"))
    readers = {**config["readers"], **part.get("readers", {})}
    assert RunConfig.model_validate({**config, **part, "readers": readers})


@pytest.mark.parametrize(
    "page", [*PAGES.values(), DOCS["config"], DOCS["tables"]], ids=lambda page: page.name
)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Relative links point at files that are there."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [] == [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize(("page", "name", "source"), generator("readme").BLOCKS)
def test_what_runs_made_is_shown_as_it_was(page: str, name: str, source: str) -> None:
    """The README's feature and the ends of both commands are what the files beside the docs keep."""
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.search(rf"<!-- {name}:.*?-->\n```text\n(.*?)```\n<!-- end -->", text, re.DOTALL)

    assert shown is not None
    assert (ROOT / source).read_text(encoding="utf-8") == shown[1]


def test_the_feature_is_the_best_of_the_report() -> None:
    """The feature, the order of the coders and the report come from runs that agree."""
    report = (ROOT / "docs" / "demo.txt").read_text(encoding="utf-8")
    best = re.search(
        r"^Best \d+ explained features, (?:.*\n)*? +(\d+) of (\w+)  mean .*  ([\d,]+) firings$",
        report,
        re.MULTILINE,
    )
    assert best is not None
    explained = re.search(rf"^(\d+) features explained .* of {best[2]};", report, re.MULTILINE)
    assert explained is not None

    text = (ROOT / "docs" / "demo-feature.txt").read_text(encoding="utf-8")
    feature, order = text.splitlines()[0], text[text.index("Coders by mean score") :]
    assert f"feature {best[1]} of {best[2]} (layers.9): {best[3]} firings; best of {explained[1]}" == feature
    assert order in re.sub(" +$", "", report, flags=re.MULTILINE)
