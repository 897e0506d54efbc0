"""The config of the paper's protocol: every value is the paper's, and gloss takes it."""

from pathlib import Path
from typing import Any

import pytest

from flows.config import RunConfig
from flows.config_file import load_config

FILE = Path(__file__).parents[2] / "deployments" / "configs" / "paper.yaml"

PROTOCOL = {
    # 3.1 Activations
    "corpus.tokens": 10_000_000,
    "corpus.sequence": 256,
    "corpus.packing": "joined",
    "corpus.keep_bos": False,
    "corpus.column": "raw_content",
    "sample.min_firings": 200,
    # 3.2 Contexts for the explainer
    "sample.window": 32,
    "sample.windows": "grid",
    "sample.most_windows": 10_000,
    "sample.explain": 40,
    "sample.strategy.kind": "random",
    "sample.apart": "window",
    "explainers.exemplars.temperature": 0.7,
    "explainers.exemplars.max_tokens": 500,
    "explainers.exemplars.shots": "all",
    "explainers.exemplars.replicates": 1,
    # 3.3 Contexts for the scorers
    "sample.per_decile": 10,
    "sample.negatives.random.n": 100,
    "sample.negatives.random.drawn": "paper",
    # 3.3.1 Detection
    "scorers.detection.shown": 5,
    "scorers.detection.temperature": 0.7,
    "scorers.detection.max_tokens": 500,
    "scorers.detection.adaptive": None,
    # 3.3.2 Fuzzing
    "scorers.fuzzing.shown": 5,
    "scorers.fuzzing.marks": "silent",
    "scorers.fuzzing.marked": "paper",
    "scorers.fuzzing.temperature": 0.7,
    "scorers.fuzzing.max_tokens": 500,
    "scorers.fuzzing.adaptive": None,
    # 3.3.3 and 3.3.4 Surprisal, embedding; simulation of Bills et al. (2023)
    "scorers.surprisal.pseudo": "Various unrelated sentences.",
    "scorers.simulation.mode": "all_at_once",
    "scorers.simulation.highest": 10,
    # Models and seed
    "subject.model": "google/gemma-2-9b",
    "readers.judge.model": "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4",
    "readers.base.model": "meta-llama/Llama-3.1-70B",
    "readers.embedder.model": "dunzhang/stella_en_400M_v5",
    "seed": 22,
}
"""What the paper says, or its code where the paper does not, by where the config has it."""


def config() -> RunConfig:
    return load_config(FILE)


def value(of: Any, path: str) -> object:
    """What lies at a path; parts of a list are found by their name or kind."""
    for key in path.split("."):
        if isinstance(of, (list, tuple)):
            of = next(item for item in of if key in (item.get("name"), item.get("kind")))
        else:
            of = of[key]
    return of


@pytest.mark.parametrize(("path", "expected"), PROTOCOL.items(), ids=list(PROTOCOL))
def test_every_value_is_the_papers(path: str, expected: object) -> None:
    """As the config is read, defaults included."""
    assert expected == value(config().model_dump(), path)


def test_every_scorer_of_the_paper_is_there_and_sees_the_same_windows() -> None:
    """Its five, on windows of sequences in which the feature never fires."""
    scorers = config().scorers
    assert ["detection", "fuzzing", "surprisal", "embedding", "simulation"] == [s.kind for s in scorers]
    assert {("random",)} == {scorer.kinds for scorer in scorers}
    assert ["random"] == [kind.kind for kind in config().sample.negatives]


def test_no_scorer_misses_what_the_run_draws() -> None:
    """A config that ships runs as it is, once its servers are there."""
    drawn = {kind.kind: False for kind in config().sample.negatives}
    assert [None] * 5 == [scorer.unmet_need(drawn) for scorer in config().scorers]


def test_coders_are_residual_ones_with_few_firings_per_token() -> None:
    """131k features each, of four layers, with an L0 below 60."""
    paths = [coder.source.path for coder in config().coders]  # pyright: ignore[reportAttributeAccessIssue]
    assert 4 == len(paths)
    for path in paths:
        assert "gemma-scope-9b-pt-res" in path
        assert "width_131k" in path
        assert int(path.rpartition("_")[2]) < 60


def test_every_line_with_a_value_of_the_protocol_says_where_it_is_from() -> None:
    """A section, an appendix, a table or a figure of the paper, or its code."""
    lines = FILE.read_text(encoding="utf-8").split("sample:\n")[1].split("\nexplainers:")[0].splitlines()
    assert len(lines) >= 9
    for line in filter(None, lines):
        assert "# 3." in line or "the code" in line
