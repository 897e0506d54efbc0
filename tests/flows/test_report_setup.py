"""What a report takes from a config: chance, readers, random coders, and how the features were chosen."""

from typing import Any

import pytest

from flows.config import RunConfig
from flows.config_file import load_config
from flows.report_setup import report_setup
from tests.docs.pages import ROOT

TOY = ROOT / "tests" / "toy" / "toy.yaml"


def config_with(**changed: Any) -> RunConfig:
    return RunConfig.model_validate(load_config(TOY.as_posix()).model_dump(mode="json") | changed)


def test_every_scorer_has_its_chance() -> None:
    """As the scorer states it, by the name that the tables have."""
    config = config_with()
    chances = report_setup(config).chances
    assert {scorer.name: scorer.chance for scorer in config.scorers} == chances
    assert (0.5, 0.2, 0.0) == (chances["detection"], chances["intruder"], chances["simulation"])


def test_readers_are_told_by_their_kind() -> None:
    """The baseline reader explains the toy, and judges it; a scorer with another reader makes no baseline of it."""
    setup = report_setup(config_with())
    assert {"exemplars": "baseline"} == setup.readers
    assert setup.has_baseline
    judged = config_with(
        explainers=[{"kind": "exemplars", "reader": "judge"}],
        scorers=[{"kind": "detection", "reader": "judge"}],
    )
    assert not report_setup(judged).has_baseline


def test_coders_keep_the_order_of_the_config() -> None:
    """In which a report names them; those of random weights are known, and what is not in the config comes last."""
    random = {"kind": "random", "width": 64, "k": 4}
    coders = [
        {"name": "sae", "site": "layers.2", "source": {"kind": "sparsify", "path": "p"}},
        {"name": "random", "site": "layers.2", "source": random},
        {"name": "again", "site": "layers.2", "source": random | {"seed": 3}},
        {"name": "neurons", "site": "layers.2.mlp.down_proj.input", "source": {"kind": "neurons"}},
    ]
    setup = report_setup(config_with(coders=coders))
    assert ("random", "again") == setup.random
    assert ["sae", "again", "neurons", "other"] == sorted(
        ["neurons", "other", "again", "sae"], key=setup.place
    )


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        ({"choose": "sample", "n": 200}, "200 drawn at random (seed 22) from the 2,048 of toy"),
        ({"choose": "all"}, "200 (all) of the 2,048 of toy"),
        ({"choose": "list", "features": [3, 5]}, "200 listed among the 2,048 of toy"),
        ({"choose": "range", "first": 0, "end": 1024}, "200 with indices 0 to 1,023 of the 2,048 of toy"),
        (
            {"choose": "density", "low": 1e-5, "high": 0.1},
            "200 whose density is between 1e-05 and 0.1, of the 2,048 of toy",
        ),
    ],
)
def test_the_sample_of_features_is_named(features: dict, sentence: str) -> None:
    """Intervals over features stand for the coder only where the features were drawn at random."""
    assert sentence == f"200 {report_setup(config_with(features=features)).choice} the 2,048 of toy"
