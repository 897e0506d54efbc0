"""Requests that look right and are not: each is refused in one sentence, before anything is written."""

from pathlib import Path

import pytest
import yaml

from flows.cli.main import main
from flows.config import RunConfig
from flows.config_file import load_config
from tasks.fields import LARGEST_SEED
from tests.flows.command import TINY

DETECTION = {"kind": "detection", "reader": "baseline"}
EXEMPLARS = {"kind": "exemplars", "reader": "baseline"}
OPENAI = {"kind": "openai", "urls": ["http://h/v1"], "model": "m"}
SAMPLE = TINY["sample"]
BEYOND = LARGEST_SEED + 1


def _coder(**changes: object) -> list[object]:
    return [{**TINY["coders"][0], **changes}]


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "a seed beyond 64 bits": ({"seed": BEYOND}, ".yaml: seed is 9223372036854775808; input should be less than"),
    "a seed below 0": ({"seed": -1}, ".yaml: seed is -1; input should be greater than or equal to 0"),
    "a seed of an explainer": ({"explainers": [{**EXEMPLARS, "seed": -1}]}, "explainers.0.seed is -1"),
    "a scorer's": ({"scorers": [{**DETECTION, "seed": BEYOND}]}, "scorers.0.seed is 9223372036854775808"),
    "a random coder's": ({"coders": _coder(source={"kind": "random", "seed": BEYOND})}, "coders.0.source.seed is"),
    "one that replicates carry beyond": (
        {"explainers": [{**EXEMPLARS, "seed": LARGEST_SEED, "replicates": 2, "temperature": 0.7}]},
        "explainers.0 is wrong: seed 9223372036854775807 plus 2 replicates goes beyond",
    ),
    "intruders with too few contexts of a decile": (
        {"sample": {**SAMPLE, "per_decile": 3}, "scorers": [{"kind": "intruder", "reader": "baseline"}]},
        "asks no question about contexts such as sample draws, with per_decile 3; set sample.per_decile to 4 or more",
    ),
    "intruders among no others": (
        {"sample": {**SAMPLE, "negatives": []}, "scorers": [{"kind": "intruder", "reader": "baseline"}]},
        "scorers.0: sample.negatives is empty, and intruder compares",
    ),
    "fewer neighbours' contexts than are shown": (
        {
            "sample": {**SAMPLE, "negatives": [{"kind": "similar", "n": 3}]},
            "scorers": [{"kind": "discrimination", "reader": "baseline"}],
        },
        "scorers.0: discrimination asks no question about contexts such as sample draws; draw more in sample.neg",
    ),
    "true for a whole number": (
        {"corpus": {**TINY["corpus"], "tokens": True}}, "corpus.tokens is true; a number is wanted",
    ),
    "true for a whole number of a list": (
        {"features": {"choose": "list", "features": [3, True]}},
        "features.features.1 is true; a number is wanted",
    ),
    "true for a seed": ({"seed": True}, ".yaml: seed is true; a number is wanted"),
    "false for a fraction": (
        {"explainers": [{**EXEMPLARS, "temperature": False}]}, "explainers.0.temperature is false; a number",
    ),
    "true in a nested part": (
        {"sample": {**SAMPLE, "negatives": [{"kind": "random", "n": True}]}},
        "sample.negatives.0.n is true; a number is wanted",
    ),
    "true for a reader's number": (
        {"readers": {**TINY["readers"], "r": {**OPENAI, "in_flight": True}}},
        "readers.r.in_flight is true; a number is wanted",
    ),
    "infinity": (
        {"explainers": [{**EXEMPLARS, "temperature": float("inf")}]},
        "explainers.0.temperature is inf; a finite number is wanted",
    ),
    "a feature twice": (
        {"features": {"choose": "list", "features": [3, 4, 3]}}, "features is wrong: features names 3 twice",
    ),
    "a scorer that is called as a column": (
        {"scorers": [{**DETECTION, "name": "feature"}]},
        "scorers.0.name is 'feature', and summary has a column",
    ),
    "one in other letters": ({"scorers": [{**DETECTION, "name": "SCORE"}]}, "scorers.0.name is 'SCORE'"),
    "two scorers with a column in common": (
        {"scorers": [{**DETECTION, "name": "a"}, {**DETECTION, "name": "a_low"}]}, "scorers.1.name is 'a_low'",
    ),
    "two scorers whose names differ by case": (
        {"scorers": [{**DETECTION, "name": "a"}, {**DETECTION, "name": "A"}]}, "scorers.1.name is 'A'",
    ),
    "a scorer's name that is a path": ({"scorers": [{**DETECTION, "name": "../x"}]}, "scorers.0.name is '../x'"),
    "an explainer's": ({"explainers": [{**EXEMPLARS, "name": "../x"}]}, "explainers.0.name is '../x'"),
    "a coder's": ({"coders": _coder(name="../x")}, "coders.0.name is '../x'"),
    "a reader's": ({"readers": {**TINY["readers"], "../x": {"kind": "baseline"}}}, "../x"),
    "true for a text": ({"run": True}, "run is true; text is wanted, in quotes"),
    "no name": ({"run": ""}, "run is ''"),
    "a name that ends with a space": ({"scorers": [{**DETECTION, "name": "a "}]}, "scorers.0.name is 'a '"),
    "no name of a scorer": ({"scorers": [{**DETECTION, "name": ""}]}, "scorers.0.name is ''"),
    "a name with a line break": ({"run": "a\n"}, "run is 'a\\n'"),
    "a name longer than a file's": ({"run": "x" * 300}, "at most 200 characters"),
    "a coder's name longer than a file's": ({"coders": _coder(name="x" * 300)}, "at most 200 characters"),
    "no lake": ({"lake": ""}, "lake is ''"),
    "a lake of nobody's home": ({"lake": "~nobody-of-this-name/lake"}, "can be no folder"),
    "a lake with a zero byte": ({"lake": "a\0b"}, "can be no folder"),
    "a lake of 5,000 characters": ({"lake": "a" * 5_000}, "can be no folder"),
    "a lake of spaces": ({"lake": " "}, "lake ' ' names no place"),
    "a bucket without a name": ({"lake": "s3://"}, "lake 's3://' names no place"),
    "no corpus": ({"corpus": {**TINY["corpus"], "path": ""}}, "corpus.path is ''"),
    "no model": ({"subject": {"model": ""}}, "subject.model is ''"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, where nothing may appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a command that ends with 2 and leaves nothing but what was there."""
    before = sorted(Path.cwd().rglob("*"))
    assert 2 == main(arguments)
    out, err = capsys.readouterr()
    assert ("", 1) == (out, len(err.splitlines())), err
    assert "Traceback" not in err
    assert before == sorted(Path.cwd().rglob("*"))
    return err


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_refused(place: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """One sentence with the key, exit code 2, nothing written."""
    changes, message = WRONG[name]
    (place / "config.yaml").write_text(yaml.safe_dump({**TINY, "lake": "lake", **changes}))
    assert message in _refused(["run", "config.yaml"], capsys)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (f"seed={BEYOND}", "seed is 9223372036854775808"),
        ("sample.explain=true", "sample.explain is true; a number is wanted"),
        ("scorers.0.name=feature", "scorers.0.name is 'feature'"),
        ("lake=", "lake is None"),
        ("sample.explain", "must have the form a.b=value"),
        ("=3", "must have the form a.b=value"),
        ("coders.7.name=x", "'7' is not an index of a list of 1"),
        (f"coders.{'9' * 5000}.name=x", "is not an index of a list of 1"),
        ("coders.-1.name=x", "'-1' is not an index"),
        ("run.x.y=1", "run.x does not exist, and what is above it has no keys"),
        ("seed=" + "[" * 3000, "nested deeper than 50 levels"),
        ("seed=2026-99-99", "cannot be read as YAML"),
        (f"seed={'9' * 5000}", "cannot be read as YAML"),
        ("a..b=1", "a is not a key"),
    ],
)
def test_a_wrong_setting_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str
) -> None:
    """As what the file says is."""
    (place / "config.yaml").write_text(yaml.safe_dump({**TINY, "lake": "lake"}))
    assert message in _refused(["run", "config.yaml", "--set", setting], capsys)


@pytest.mark.parametrize("command", [["run", "config.yaml"], ["sql", "select 1"], ["status"], ["tables"]])
def test_an_empty_lake_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """It is not the working folder."""
    (place / "config.yaml").write_text(yaml.safe_dump(TINY))
    assert "lake" in _refused([*command, "--lake", ""], capsys)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES: dict[str, tuple[bytes, str]] = {
    "nested 3,000 deep": (b"run: " + b"[" * 3000 + b"]" * 3000, "nested deeper than 50 levels"),
    "mappings nested 3,000 deep": (b"{a: " * 3000, "nested deeper than 50 levels"),
    "a billion laughs": (BOMB.encode(), "holds more than 1,000,000 values"),
    "an alias in itself": (b"run: &a [*a]", "an alias stands inside of what it is for"),
    "an alias of nothing": (b"run: *a", "undefined alias"),
    "binary": (bytes(range(256)), "cannot be read as YAML"),
    "not UTF-8": ("run: naïve".encode("latin-1"), "cannot be read as YAML"),
    "UTF-16": ("run: x".encode("utf-16"), "cannot be read as YAML"),
    "empty": (b"", "must be a mapping of keys, and holds nothing"),
    "empty but for a byte-order mark": (b"\xef\xbb\xbf", "and holds nothing"),
    "a list": (b"- run", "must be a mapping of keys, and holds a list"),
    "text": (b"run", "must be a mapping of keys, and holds text"),
    "two documents": (b"run: a\n---\nrun: b", "cannot be read as YAML"),
    "a tag of Python": (b"run: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    "a date that is none": (b"run: 2026-99-99", "cannot be read as YAML"),
    "a number of 5,000 digits": (b"seed: " + b"9" * 5000, "cannot be read as YAML"),
    "a list for a key": (b"? [a]\n: b", "cannot be read as YAML"),
    "a number for a key": (b"1: b", "(and 6 more faults)"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Whatever it holds, and soon."""
    content, message = FILES[name]
    (place / "config.yaml").write_bytes(content)
    assert message in _refused(["run", "config.yaml"], capsys)


def test_a_folder_is_no_config(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named."""
    assert "cannot be read as YAML (" in _refused(["run", str(place)], capsys)


def test_a_byte_order_mark_is_no_part_of_a_config(place: Path) -> None:
    """Editors on Windows write one."""
    (place / "config.yaml").write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump(TINY).encode())
    assert "tiny" == load_config("config.yaml").run


def test_aliases_and_merges_that_repeat_little_are_read(place: Path) -> None:
    """They are how configs are kept short."""
    text = yaml.safe_dump(TINY).replace("seed: 22\n", "")
    text += "budget: &b {cost: 3}\n" if "budget" not in text else ""
    text = text.replace("scorers:", "scorers: &s") if "scorers: &s" not in text else text
    (place / "config.yaml").write_text(text)
    assert load_config("config.yaml").scorers == RunConfig.model_validate(TINY).scorers


def test_off_and_yes_are_what_they_say(place: Path) -> None:
    """YAML 1.1 reads them as booleans; here they are words, and booleans where those are wanted."""
    text = yaml.safe_dump({key: value for key, value in TINY.items() if key != "readers"})
    text += (
        "readers: {baseline: {kind: baseline}, r: {kind: openai, urls: ['http://h/v1'], model: no,"
        " replies: off, optional: yes}}\n"
    )
    (place / "config.yaml").write_text(text)
    reader = load_config("config.yaml", ("corpus.keep_bos=on", "corpus.split=off")).readers["r"]
    assert ("off", True, "no") == (reader.replies, reader.optional, reader.model)  # type: ignore[union-attr]
    config = load_config("config.yaml", ("corpus.keep_bos=on", "corpus.split=off", "readers.r.replies=false"))
    assert (True, "off") == (config.corpus.keep_bos, config.corpus.split)
    assert "off" == config.readers["r"].replies  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("component", "content", "message"),
    [
        ("explainers", "", "is empty"),
        ("scorers", " \n\t", "is empty"),
        ("scorers", "\ufeff", "is empty"),
        ("embedding", "no slot", "has no {explanation} in it"),
        ("example_embedding", "no slot", "has no {context} in it"),
    ],
)
def test_a_prompt_file_that_asks_nothing_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], component: str, content: str, message: str
) -> None:
    """Before the explanations, which would be paid first."""
    (place / "prompt.txt").write_text(content, encoding="utf-8")
    part = {"explainers": EXEMPLARS, "scorers": DETECTION}.get(component, {"kind": component, "reader": "e"})
    key = component if component == "explainers" else "scorers"
    readers = {**TINY["readers"], "e": {"kind": "sentence_transformers", "model": "x"}}
    config = {**TINY, "lake": "lake", "readers": readers, key: [{**part, "prompt": "prompt.txt"}]}
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    assert message in _refused(["run", "config.yaml"], capsys)


def test_bounds_stand_in_the_schema() -> None:
    """Prefect's form is made of it, and shows them before anything is sent."""
    schema = RunConfig.model_json_schema()
    assert (0, LARGEST_SEED) == tuple(schema["properties"]["seed"][key] for key in ("minimum", "maximum"))
    assert 200 == schema["properties"]["run"]["maxLength"]
    assert 1 == schema["properties"]["lake"]["minLength"]
    listed = schema["$defs"]["ListedFeatures"]["properties"]["features"]
    assert listed["uniqueItems"]
    for kind in ("Detection", "Intruder", "Exemplars", "SingleToken"):
        assert "pattern" in schema["$defs"][kind]["properties"]["name"], kind


def test_filters_of_imported_explanations_keep_their_booleans() -> None:
    """A boolean beside texts and numbers is none of them."""
    where = {"a": True, "b": "true", "c": 1}
    part = {"kind": "import", "path": "x.jsonl", "format": "jsonl", "where": where}
    config = RunConfig.model_validate({**TINY, "explainers": [part]})
    assert [True, "true", 1] == list(config.explainers[0].where.values())  # type: ignore[union-attr]
