"""What a report takes from a config: chance, readers, random coders, and how the features were chosen."""

from typing import Any

import pytest

from flows.config import RunConfig
from flows.config_file import load_config
from flows.report_setup import report_setup
from tests.docs.pages import ROOT

DEMO = ROOT / "deployments" / "demo" / "demo.yaml"


def demo(**changed: Any) -> RunConfig:
    return RunConfig.model_validate(load_config(DEMO.as_posix()).model_dump(mode="json") | changed)


def test_every_scorer_has_its_chance() -> None:
    """As the scorer states it, by the name that the tables have."""
    config = demo()
    chances = report_setup(config).chances
    assert {scorer.name: scorer.chance for scorer in config.scorers} == chances
    assert (0.5, 0.2, 0.0) == (chances["detection"], chances["intruder"], chances["simulation"])


def test_readers_are_told_by_their_kind() -> None:
    """The baseline reader explains the demo, and judges it; a scorer with another reader makes no baseline of it."""
    setup = report_setup(demo())
    assert {"exemplars": "baseline"} == setup.readers
    assert setup.has_baseline
    judged = demo(
        explainers=[{"kind": "exemplars", "reader": "judge"}],
        scorers=[{"kind": "detection", "reader": "judge"}],
    )
    assert not report_setup(judged).has_baseline


def test_random_coders_are_floors_of_their_site() -> None:
    """Of no other site, and not of each other."""
    random = {"kind": "random", "width": 64, "k": 4}
    coders = [
        {"name": "sae", "site": "layers.2", "source": {"kind": "sparsify", "path": "p"}},
        {"name": "elsewhere", "site": "layers.1", "source": {"kind": "sparsify", "path": "p"}},
        {"name": "random", "site": "layers.2", "source": random},
        {"name": "again", "site": "layers.2", "source": random | {"seed": 3}},
    ]
    assert {"sae": ("again", "random"), "elsewhere": ()} == report_setup(demo(coders=coders)).random_coders


def test_a_site_has_many_names() -> None:
    """That of a checkpoint, with the architecture's prefix or another library's, is the random coder's."""
    source = {"kind": "sparsify", "path": "p"}
    coders = [
        {"name": "declared", "source": {"kind": "goodfire", "path": "here/Demo-SAE-l2.pth"}},
        {"name": "elsewhere", "source": {"kind": "goodfire", "path": "here/Demo-SAE-l1.pth"}},
        {"name": "hook", "site": "blocks.2.hook_resid_post", "source": source},
        {"name": "centred", "site": "model.layers.2.output:centred", "source": source},
        {"name": "input", "site": "layers.2.input", "source": source},
        {"name": "unknown", "site": "blocks.2.hook_unheard_of", "source": source},
        {"name": "random", "site": "layers.2", "source": {"kind": "random", "width": 64, "k": 4}},
    ]
    random = report_setup(demo(coders=coders)).random_coders
    assert {name: ("random",) * (name in {"declared", "hook", "centred"}) for name in random} == random
    assert 6 == len(random)


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        ({"choose": "sample", "n": 200}, "200 drawn at random (seed 22) from the 2,048 of demo"),
        ({"choose": "all"}, "200 (all) of the 2,048 of demo"),
        ({"choose": "list", "features": [3, 5]}, "200 listed among the 2,048 of demo"),
        ({"choose": "range", "first": 0, "end": 1024}, "200 with indices 0 to 1,023 of the 2,048 of demo"),
        (
            {"choose": "density", "low": 1e-5, "high": 0.1},
            "200 whose density is between 1e-05 and 0.1, of the 2,048 of demo",
        ),
    ],
)
def test_the_sample_of_features_is_named(features: dict, sentence: str) -> None:
    """Intervals over features stand for the coder only where the features were drawn at random."""
    assert sentence == f"200 {report_setup(demo(features=features)).choice} the 2,048 of demo"
