"""The command that runs a few of a run's features: it works for every way to choose them."""

import shlex
from collections.abc import Callable
from pathlib import Path

from flows.config_file import load_config
from flows.estimate.features import PILOT_FEATURES, pilot_sentence
from flows.feature_selection import chosen
from flows.plan import Plan
from tests.flows.command import write_config

JUDGE = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "tiny"}
CHOICES = [
    {"choose": "all"},
    {"choose": "sample", "n": 48},
    {"choose": "range", "first": 7, "end": 90},
    {"choose": "list", "features": [*range(900, 30, -3)]},
    {"choose": "density", "low": 0.001},
]


def _sentence(config: Path, many: int = 48) -> str | None:
    return pilot_sentence(
        Plan(load_config(config)), f"gloss run {shlex.quote(str(config))}", ["judge"], {"demo": many}
    )


def _pilot(config: Path) -> Plan:
    """What the sentence's command runs."""
    sentence = _sentence(config)
    assert sentence is not None
    gloss, run, file, option, setting = shlex.split(sentence.split(": ", 1)[1])
    assert ["gloss", "run", str(config), "--set"] == [gloss, run, file, option]
    return Plan(load_config(file, (setting,)))


def test_a_pilot_takes_features_of_the_run(tmp_path: Path, add_cache: Callable[[Path], None]) -> None:
    """By whatever way they are chosen, as many as it says, of the same run and by the same seed."""
    lake = str(tmp_path / "lake")
    add_cache(tmp_path / "lake")
    for features in CHOICES:
        config = write_config(tmp_path, lake, features=features, readers={"judge": JUDGE, "baseline": JUDGE})
        whole, few = Plan(load_config(config)), _pilot(config)
        (step,) = (coder.features for coder in whole.coders)
        of_few, of_all = (
            set(chosen(item.config.features, item.lake, step, item.config.seed)) for item in (few, whole)
        )
        assert PILOT_FEATURES == len(of_few)
        assert of_few < of_all
        assert {**whole.config.model_dump(), "features": None} == {
            **few.config.model_dump(),
            "features": None,
        }


def test_what_the_run_takes_over_is_reported(tmp_path: Path) -> None:
    """Without a cache nobody knows which features have a density; replies that are not kept are paid twice."""
    readers = {"judge": JUDGE, "baseline": JUDGE}
    lake = str(tmp_path / "lake")
    message = _sentence(write_config(tmp_path, lake, readers=readers))
    assert message is not None
    assert "the run takes its replies over:" in message
    message = _sentence(
        write_config(tmp_path, lake, readers=readers, features={"choose": "density", "low": 0.1})
    )
    assert message is not None
    assert "for features in its range of densities, which no cache tells yet" in message
    message = _sentence(
        write_config(tmp_path, lake, readers={**readers, "judge": {**JUDGE, "replies": "off"}})
    )
    assert message is not None
    assert "readers.judge.replies is off, so that they are paid twice" in message


def test_a_small_run_is_its_own_pilot(tmp_path: Path) -> None:
    """Where it has no more features than that."""
    config = write_config(tmp_path, str(tmp_path / "lake"), readers={"judge": JUDGE, "baseline": JUDGE})
    assert _sentence(config, PILOT_FEATURES) is None
