"""docs/config.md: what it shows as a default counts, and what it says of `--set` is so."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.config_file import load_config
from storage.errors import WrongRequest
from tests.docs.generator import generator
from tests.flows.command import TINY, write_config

GENERATOR = generator("config")
ROW = re.compile(r"^\| `(kind|choose)` \| [^|]+ \| (?P<default>[^|]*) \|", re.MULTILINE)


def test_the_page_is_current() -> None:
    """As the code has it."""
    assert GENERATOR.FILE.read_text(encoding="utf-8") == GENERATOR.page()


def test_a_key_that_tells_kinds_apart_has_no_default() -> None:
    """Without it a config is refused, whatever the part itself would take."""
    rows = ROW.findall(GENERATOR.page())

    assert len(rows) > 40
    assert {""} == {default.strip() for _, default in rows}


def _without(*path: str | int) -> dict:
    """The tiny run's config, with a key taken out."""
    config = yaml.safe_load(yaml.safe_dump({**TINY, "lake": "lake"}))
    part = config
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return config


@pytest.mark.parametrize(
    "path",
    [
        ("runner", "kind"),
        ("coders", 0, "source", "kind"),
        ("features", "choose"),
        ("sample", "negatives", 0, "kind"),
        ("explainers", 0, "kind"),
        ("scorers", 0, "kind"),
        ("readers", "baseline", "kind"),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_such_a_key_must_be_written(tmp_path: Path, path: tuple[str | int, ...]) -> None:
    """In every part of a config that is one of several."""
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(_without(*path)), encoding="utf-8")

    with pytest.raises(WrongRequest, match=f"lacks the key {path[-1]}"):
        load_config(file)


def test_other_defaults_are_shown() -> None:
    """Those that count."""
    page = GENERATOR.page()

    assert '| `lake` | string | `"./gloss-lake"` |' in page
    assert "| `workers` | integer | `2` |" in page


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A config that leaves out all that has a default which `--set` cannot reach into."""
    file = write_config(tmp_path, "lake")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for key in ("runner", "features", "sample"):
        del content[key]
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("scorers.0.shown=3", "scorers.0.shown", 3),
        ("readers.baseline.kind=baseline", "readers.baseline.kind", "baseline"),
        ("describe.logits=3", "describe.logits", 3),
        ("sample.window=16", "sample.window", 16),
        ("runner={kind: threads, workers: 4}", "runner.workers", 4),
        ("scorers=[{kind: fuzzing, reader: baseline}]", "scorers.0.kind", "fuzzing"),
    ],
)
def test_what_can_be_set(sparse: Path, setting: str, path: str, value: object) -> None:
    """Keys of what the file has, keys at the top, and lists or kinds as a whole."""
    content: Any = load_config(sparse, (setting,)).model_dump(mode="json")
    for key in path.split("."):
        content = content[int(key) if key.isdecimal() else key]

    assert value == content


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("runner.workers=4", "runner lacks the key kind"),
        ("features.n=3", "features lacks the key choose"),
        ("sample.strategy.q=2", "sample.strategy lacks the key kind"),
        ("sample.negatives.0.n=5", "sample.negatives"),
        ("scorers.2={kind: fuzzing, reader: baseline}", "not an index of a list of 2"),
    ],
)
def test_what_cannot_be_set(sparse: Path, setting: str, message: str) -> None:
    """Items that a list does not have, and what lies in a default list or of one kind of several."""
    with pytest.raises(WrongRequest, match=message):
        load_config(sparse, (setting,))
