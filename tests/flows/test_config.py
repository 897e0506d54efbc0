"""The config: one model, faults named by their dotted path."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.config import RunConfig
from flows.config_file import fault, load_config
from storage.errors import WrongRequest
from tests.flows.command import ROOT, TINY

JUDGE = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "m"}

FAULTS = {
    "a missing key": ({"subject": None}, "subject is missing; it must be given"),
    "a misspelt key": ({"corpsu": {}}, "corpsu is not a key", "did you mean corpus"),
    "a misspelt option of a part": (
        {"scorers": [{"kind": "detection", "reader": "baseline", "shwon": 5}]},
        "scorers.0.shwon is not a key (given 5)",
        "did you mean shown",
    ),
    "a wrong kind": (
        {"scorers": [{"kind": "detecting", "reader": "baseline"}]},
        "scorers.0 has kind 'detecting'; allowed are 'detection', ",
    ),
    "a part without a kind": ({"readers": {"baseline": {}}}, "readers.baseline lacks the key kind"),
    "an option of another kind": (
        {"coders": [{"site": "layers.2", "source": {"kind": "sparsify", "path": "x", "repo": "y"}}]},
        "coders.0.source.repo is not a key (given 'y')",
        "allowed are kind, path, revision",
    ),
    "a number out of range": (
        {"sample": {"per_decile": 0}},
        "sample.per_decile is 0",
        "greater than or equal to 1",
    ),
    "more tokens than shards can be planned for": (
        {"corpus": {"path": "x", "tokens": 10**30}},
        "corpus.tokens 1" + "0" * 30,
        "more than 1,000,000 shards",
    ),
    "a wrong type": ({"seed": "many"}, "seed is 'many'", "integer"),
    "a window that is longer than the sequence": (
        {"sample": {"window": 257}},
        "sample.window 257 is longer than corpus.sequence 256",
    ),
    "an option of another strategy": (
        {"sample": {"strategy": {"kind": "top", "rest": "random"}}},
        "sample.strategy.rest is not a key (given 'random')",
        "allowed are kind",
    ),
    "a strategy that is not there": (
        {"sample": {"strategy": {"kind": "bottom"}}},
        "sample.strategy has kind 'bottom'",
        "'quantiles'",
    ),
    "more neighbours than are described": (
        {"sample": {"negatives": [{"kind": "random"}, {"kind": "similar", "neighbours": 11}]}},
        "sample.negatives.1.neighbours 11 is more than describe.neighbours 10",
    ),
    "neighbours by rows that are not described": (
        {"sample": {"contrast": [{"kind": "similar", "by": "encoder"}]}},
        "sample.contrast.0.neighbours 10 is more than describe.encoder_neighbours 0",
    ),
    "fewer similar texts looked at than are asked for": (
        {"sample": {"negatives": [{"kind": "similar_text", "n": 50, "nearest": 49}]}},
        "sample.negatives.0 is wrong: nearest 49 must be at least n 50",
    ),
    "an option of another kind of context": (
        {"sample": {"negatives": [{"kind": "similar_text", "neighbours": 9}]}},
        "sample.negatives.0.neighbours is not a key (given 9)",
        "nearest",
    ),
    "a reader that is not there": (
        {"scorers": [{"kind": "detection", "reader": "judge"}]},
        "scorers.0.reader is 'judge'; readers has baseline",
    ),
    "a scorer without the contexts that it needs": (
        {"scorers": [{"kind": "discrimination", "reader": "baseline"}]},
        "scorers.0: sample.negatives has random, and discrimination needs contexts of neighbours",
        "add a kind that gives them, such as cooccurring or similar",
    ),
    "an explainer whose questions the baseline reader never answers": (
        {"explainers": [{"kind": "structured", "reader": "baseline"}]},
        "explainers.0.reader is 'baseline', and a reader of kind baseline answers only questions about rendered",
        "name one that answers this, such as one of kind openai or transformers",
    ),
    "one that other features are left to": (
        {"explainers": [{"kind": "single_token", "otherwise": {"kind": "logits", "reader": "baseline"}}]},
        "explainers.0.otherwise.reader is 'baseline', and a reader of kind baseline answers only",
    ),
    "log-probabilities of the baseline reader": (
        {"scorers": [TINY["scorers"][0], {"kind": "fuzzing", "reader": "baseline", "logprobs": True}]},
        "scorers.1.reader is 'baseline', and a reader of kind baseline gives no log-probabilities",
    ),
    "questions to an embedding model": (
        {
            "scorers": [{"kind": "detection", "reader": "small"}],
            "readers": {**TINY["readers"], "small": {"kind": "sentence_transformers", "model": "x"}},
        },
        "scorers.0.reader is 'small', and a reader of kind sentence_transformers turns texts into vectors",
    ),
    "kinds of contexts that are not drawn": (
        {"scorers": [{"kind": "detection", "reader": "baseline", "kinds": ["random", "similar"]}]},
        "scorers.0: kinds names similar, and sample.negatives has random",
    ),
    "kinds of contexts that are not drawn, for a number": (
        {"scorers": [{"kind": "embedding", "reader": "baseline", "kinds": ["silent"]}]},
        "scorers.0: kinds names silent, and sample.negatives has random",
    ),
    "verdicts on contexts of one class": (
        {"sample": {"negatives": []}},
        "scorers.0: sample.negatives is empty, and detection compares a feature's contexts with non-activating ones",
        "name a kind there, such as silent",
    ),
    "numbers of contexts of one class": (
        {"sample": {"negatives": []}, "scorers": [{"kind": "embedding", "reader": "baseline"}]},
        "scorers.0: sample.negatives is empty, and embedding compares",
    ),
    "kinds where no silent context is asked about": (
        {"scorers": [{"kind": "fuzzing", "reader": "baseline", "marks": "active", "kinds": ["random"]}]},
        "scorers.0",
        "leave kinds out",
    ),
    "two parts of one name": (
        {"scorers": [{"kind": "detection", "reader": "baseline"}] * 2},
        "scorers: the name detection is used twice",
    ),
    "a name that no folder can have": ({"run": "a/b"}, "run is 'a/b'", "pattern"),
    "an empty range of features": (
        {"features": {"choose": "range", "first": 4, "end": 4}},
        "features",
        "greater",
    ),
    "densities in the wrong order": (
        {"features": {"choose": "density", "low": 0.5, "high": 0.1}},
        "features is wrong: high 0.1 must be greater than low 0.5",
    ),
    "densities between which nothing is": (
        {"features": {"choose": "density", "low": 0.5, "high": 0.5}},
        "features is wrong: high 0.5 must be greater than low 0.5",
    ),
    "several faults": ({"a": 1, "b": 2}, "a is not a key", "(and 1 more fault)"),
    "many faults": ({"a": 1, "b": 2, "c": 3}, "a is not a key", "(and 2 more faults)"),
    "something else than a list": ({"coders": 3}, "coders is 3; a list is wanted"),
    "an empty list": ({"coders": []}, "coders is []; give at least one"),
    "an empty mapping": ({"readers": {}}, "readers is {}; give at least one"),
    "something else than a mapping": ({"subject": 3}, "subject is 3; a mapping of keys is wanted"),
    "something else than one of several mappings": (
        {"runner": 3},
        "runner is 3; a mapping of keys is wanted",
    ),
    "something else than a mapping of names": ({"readers": []}, "readers is []; a mapping of keys is wanted"),
    "a number for a name": ({"run": 3}, "run is 3; text is wanted, in quotes"),
    "an exponent": (
        {"corpus": {**TINY["corpus"], "tokens": "1e6"}},
        "corpus.tokens is '1e6', which YAML takes for text; write 1_000_000 or 1000000",
    ),
    "an exponent of a fraction": (
        {"corpus": {**TINY["corpus"], "tokens": "1.25e1"}},
        "corpus.tokens is '1.25e1'; input should be a valid integer",
    ),
    "a proxy with a password": (
        {"readers": {"judge": {**JUDGE, "proxy": "http://me:hunter22@proxy:3128"}}},
        "readers.judge.proxy is wrong: it must not hold a user or a password",
        "; name a proxy that asks for none",
    ),
    "a password under a key that is none": (
        {"readers": {"judge": {**JUDGE, "proxi": "http://me:hunter22@proxy:3128"}}},
        "readers.judge.proxi is not a key (given 'http://[password]@proxy:3128'); allowed are",
    ),
    "an address of no server": (
        {"readers": {"judge": {"kind": "openai", "urls": ["nowhere"], "model": "m"}}},
        "readers.judge.urls.0 is wrong: it must look like http://host:port/v1",
    ),
    "a site that can be none": (
        {"coders": [{"site": "layers 2", "source": {"kind": "sparsify", "path": "x"}}]},
        "coders.0",
        "names no site",
    ),
}


def _file(folder: Path, changes: dict[str, object]) -> Path:
    data = {key: value for key, value in {**TINY, **changes}.items() if value is not None}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_by_its_path(tmp_path: Path, name: str) -> None:
    """Every fault is one sentence with the dotted path, what was given and what is allowed."""
    changes, *sentence = FAULTS[name]

    with pytest.raises(WrongRequest) as refused:
        load_config(_file(tmp_path, changes))

    message = str(refused.value)
    assert [] == [part for part in sentence if part not in message], message
    assert "\n" not in message
    assert "hunter22" not in message


@pytest.mark.parametrize("marks", ["silent", "active", "mismarked"])
def test_without_non_activating_contexts_a_scorer_has_negatives_of_its_own_or_is_refused(
    tmp_path: Path, marks: str
) -> None:
    """Who always says yes would be right about every context, where there is one class and chance is said to be 0.5."""
    none = {"sample": {**TINY["sample"], "negatives": [], "contrast": []}}
    fuzzing = {"kind": "fuzzing", "reader": "baseline", "marks": marks}
    file = _file(tmp_path, {**none, "scorers": [fuzzing]})
    if marks == "silent":
        with pytest.raises(WrongRequest, match="negatives is empty, and fuzzing compares"):
            load_config(file)
    else:
        assert () == tuple(load_config(file).sample.negatives)


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    """At any depth, with its line; YAML itself would take the last one and drop the other without a word."""
    file = _file(tmp_path, {})
    text = file.read_text(encoding="utf-8")
    for twice, key in ((f"{text}run: again\n", "run"), (f"{text}seed: {{a: 1, b: 2, a: 3}}\n", "a")):
        file.write_text(twice, encoding="utf-8")
        with pytest.raises(
            WrongRequest, match=f"the key {key} is given twice .*line {twice.count(chr(10))},"
        ):
            load_config(file)
    file.write_text("? [a, b]\n: 1\n? [a, b]\n: 2\n", encoding="utf-8")
    with pytest.raises(WrongRequest, match="cannot be read as YAML"):
        load_config(file)


@pytest.mark.parametrize("file", sorted((ROOT / "deployments").rglob("*.yaml")), ids=lambda file: file.name)
def test_shipped_configs_are_valid(file: Path) -> None:
    """Every run config that ships validates."""
    if "subject" in yaml.safe_load(file.read_text(encoding="utf-8")):
        load_config(file)


def test_settings_change_single_keys(tmp_path: Path) -> None:
    """--set reaches into mappings and lists, and reads its value as YAML."""
    file = _file(tmp_path, {})

    config = load_config(file, ("corpus.tokens=512", "scorers.1.shown=3", "sample.negatives.0.n=7", "seed=5"))

    assert (512, 3, 7, 5) == (
        config.corpus.tokens,
        config.scorers[1].model_dump()["shown"],
        config.sample.negatives[0].n,
        config.seed,
    )


def test_the_seed_of_the_run_is_everyones(tmp_path: Path) -> None:
    """Explainers and scorers take the run's seed unless they have their own."""
    scorers = [
        {"kind": "detection", "reader": "baseline", "seed": 1},
        {"kind": "fuzzing", "reader": "baseline"},
    ]

    config = load_config(_file(tmp_path, {"scorers": scorers}), ("seed=9",))

    data = config.model_dump()
    assert [9] == [explainer["seed"] for explainer in data["explainers"]]
    assert [1, 9] == [scorer["seed"] for scorer in data["scorers"]]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("seed", "must have the form a.b=value"),
        (
            "scorers.7.shown=3",
            "'7' is not an index of a list of 2, 0 to 1; --set changes what is there and appends",
        ),
        (
            "explainers.1=3",
            "'1' is not an index of a list of 1, 0 to 0; --set changes .*write it into the file, or",
        ),
        ("sample.contrast.0=3", "'0' is not an index of an empty list; --set changes"),
        ("run.deep=3", "has no keys"),
        ("corpus.tokns=3", "did you mean tokens"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, setting: str, sentence: str) -> None:
    """A setting that reaches nothing is refused with its own text."""
    with pytest.raises(WrongRequest, match=sentence):
        load_config(_file(tmp_path, {"sample": {**TINY["sample"], "contrast": []}}), (setting,))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    """A file that holds no YAML mapping is refused by name."""
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(WrongRequest, match=r"config\.yaml"):
        load_config(file)


def test_a_file_that_is_not_there_is_refused() -> None:
    """A missing config file is named."""
    with pytest.raises(WrongRequest, match=r"nowhere\.yaml does not exist"):
        load_config("nowhere.yaml")


def test_a_config_survives_json() -> None:
    """What Prefect stores of a config gives the same config back."""
    config = RunConfig.model_validate({**TINY, "lake": "./lake"})

    assert config == RunConfig.model_validate(config.model_dump(mode="json"))


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=3))
def test_no_mapping_at_all_crashes_the_reader(changes: dict[str, object]) -> None:
    """Whatever keys a config has, it is accepted or refused with a sentence, and nothing else happens."""
    sentence = "accepted"
    try:
        RunConfig.model_validate({**TINY, **changes})
    except ValidationError as error:
        sentence = fault(error, RunConfig)

    assert sentence
