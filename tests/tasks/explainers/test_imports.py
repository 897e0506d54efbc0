"""Explanations that somebody else wrote."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.errors import WrongRequest
from storage.lake import Lake
from storage.tables import EXPLANATIONS
from tasks.explainers.base import NOBODY, ExplainerInputs, Explanation
from tasks.explainers.imported.base import Columns
from tasks.explainers.imports import Import
from tests.storage.sql.test_scores import record
from tests.tasks.explainers.every import WHOLE
from tests.tasks.explainers.explaining import explain

FEATURES = [replace(WHOLE, feature=feature) for feature in (3, 7, 9)]
ABOUT = {"modelId": "gpt2-small", "layer": "9-res-jb", "typeName": "a", "explanationModelName": "gpt-4o-mini"}
NEURONPEDIA = [
    {**ABOUT, "index": "3", "description": " ships"},
    {**ABOUT, "index": "7", "description": "lamps", "explanationModelName": None},
    {**ABOUT, "index": "9", "description": "  "},
]


def lines(file: Path, rows: Sequence[object]) -> str:
    """The path of a file of JSON lines."""
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return file.as_posix()


def rows(*texts: str | None) -> list[dict]:
    """Explanations of features 3, 7 and 9."""
    return [{"feature": feature, "text": text} for feature, text in zip((3, 7, 9), texts, strict=False)]


def known(path: str, form: str = "jsonl", coder: str = "toy", **options: object) -> dict[int, Explanation]:
    explainer = Import.model_validate({"kind": "import", "path": path, "format": form, **options})
    return dict(explainer.known(coder, FEATURES))


def texts(path: str, form: str = "jsonl", **options: object) -> list[str | None]:
    return [value.text for value in known(path, form, "toy", **options).values()]


def test_explanations_are_written_down_as_they_are(tmp_path: Path) -> None:
    """The whole way: texts on one line, features without one fail with the reason, nobody is asked."""
    path = lines(
        tmp_path / "theirs.jsonl", [*rows("ships\n at sea ", None), {"feature": 4, "text": "unused"}]
    )
    explainer = Import(kind="import", name="theirs", path=path, format="jsonl")
    result, requests = explain(Lake(str(tmp_path / "lake")), FEATURES, explainer, {})
    assert [(3, "ships at sea", "ok", True), (7, None, "failed", False), (9, None, "failed", False)] == [
        (row["feature"], row["text"], row["status"], row["chosen"]) for row in result
    ]
    assert f"{path} has no explanation of it" == result[1]["reason"] == result[2]["reason"]
    assert [("theirs", "none", "none")] * 3 == [
        (row["explainer"], row["reader"], row["model"]) for row in result
    ]
    assert [] == requests


def test_gloss_s_own_explanations_come_back(tmp_path: Path) -> None:
    """A part of the table is imported, of one explainer, with the models that wrote it."""
    own = [
        record(EXPLANATIONS, feature=feature, coder="demo", explainer=explainer, text=text, model="m")
        for feature in (3, 7)
        for explainer, text in (("a", f"a of {feature}"), ("b", None))
    ]
    pq.write_table(EXPLANATIONS.rows(own), tmp_path / "part.parquet")
    columns = {"coder": "coder", "model": "model"}
    result = known(
        str(tmp_path), "parquet", where={"explainer": "a"}, columns=columns, coders={"toy": "demo"}
    )
    assert ["a of 3", "a of 7", None] == [value.text for value in result.values()]
    assert ["m", "m", NOBODY] == [value.model for value in result.values()]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint16(), pa.string()])
def test_columns_may_be_called_otherwise(kind: pa.DataType, tmp_path: Path) -> None:
    """And features may be numbers of any width, or text."""
    table = pa.table({"latent": pa.array([3, 7]).cast(kind), "label": pa.array(["ships", "lamps"])})
    pq.write_table(table, tmp_path / "labels.pq")
    result = texts(str(tmp_path / "labels.pq"), "parquet", columns={"feature": "latent", "text": "label"})
    assert ["ships", "lamps", None] == result


@pytest.mark.parametrize("name", ["export.json", "batch-0.jsonl", "batch-0.jsonl.gz"])
def test_neuronpedia_is_read(name: str, tmp_path: Path) -> None:
    """An export is a list, a batch of the data set one object per line; blank descriptions are none."""
    if name.endswith(".json"):
        (tmp_path / name).write_text(json.dumps(NEURONPEDIA))
    else:
        lines(tmp_path / name, NEURONPEDIA)
    for path in (tmp_path, tmp_path / name):
        result = known(str(path), "neuronpedia")
        assert ["ships", "lamps", None] == [value.text for value in result.values()]
        assert ["gpt-4o-mini", NOBODY, NOBODY] == [value.model for value in result.values()]


def test_one_of_several_explanations_is_picked(tmp_path: Path) -> None:
    """Two models that explained one feature are a fault, until it is said which is meant."""
    path = lines(
        tmp_path / "batch-0.jsonl",
        [*NEURONPEDIA, {**NEURONPEDIA[0], "explanationModelName": "o3", "description": "boats"}],
    )
    with pytest.raises(WrongRequest, match=r"line 4 of .*batch-0.jsonl is a second explanation of feature 3"):
        known(path, "neuronpedia")
    assert "boats" == known(path, "neuronpedia", where={"explanationModelName": "o3"})[3].text


def test_delphi_is_read(tmp_path: Path) -> None:
    """One JSON string per file; what could not be parsed is no explanation; the paper's names of files count too."""
    (tmp_path / "layers.5.mlp_latent3.txt").write_text(json.dumps('ships "at" sea'))
    (tmp_path / "layers.5.mlp_feature7.txt").write_text(json.dumps("lamps"))
    (tmp_path / "layers.5.mlp_latent9.txt").write_text(json.dumps("Explanation could not be parsed."))
    assert ['ships "at" sea', "lamps", None] == texts(str(tmp_path), "delphi")
    (tmp_path / "layers.6.mlp_latent3.txt").write_text(json.dumps("goats"))
    assert ["goats", None, None] == texts(str(tmp_path), "delphi", coders={"toy": "layers.6.mlp"})


@pytest.mark.parametrize("form", ["jsonl", "neuronpedia"])
def test_hidden_files_are_no_explanations(form: str, tmp_path: Path) -> None:
    """As of notebooks and Finder; one that is named by itself is meant. A byte-order mark is no part of a line."""
    columns = {"jsonl": ("feature", "text"), "neuronpedia": ("index", "description")}[form]
    row = json.dumps({columns[0]: 3, columns[1]: "ships", "layer": "9-res-jb"})
    (tmp_path / "a.jsonl").write_text(f"\ufeff{row}\n", encoding="utf-8")
    before = Import(kind="import", path=str(tmp_path), format=form).identity()  # type: ignore[arg-type]
    (tmp_path / ".ipynb_checkpoints").mkdir()
    for name in (".ipynb_checkpoints/a.jsonl", "_a.jsonl", ".a.jsonl"):
        (tmp_path / name).write_text(f"{row}\n")
    (tmp_path / "._a.jsonl").write_bytes(b"\0\5\26\7")
    assert "ships" == known(str(tmp_path), form)[3].text
    assert "ships" == known(str(tmp_path / "_a.jsonl"), form)[3].text
    assert before == Import(kind="import", path=str(tmp_path), format=form).identity()  # type: ignore[arg-type]


def test_delphi_s_names_may_begin_with_a_dot(tmp_path: Path) -> None:
    """As the paper's hookpoints do; Finder's files beside them are no explanations."""
    (tmp_path / ".gpt_neox.layers.3_feature3.txt").write_text(
        "\ufeff" + json.dumps("ships"), encoding="utf-8"
    )
    (tmp_path / "._.gpt_neox.layers.3_feature7.txt").write_text(json.dumps("lamps"))
    assert ["ships", None, None] == texts(str(tmp_path), "delphi")


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_a_zip_that_is_none_is_refused(content: bytes | None, tmp_path: Path) -> None:
    """In one sentence."""
    if content is not None:
        (tmp_path / "c.zip").write_bytes(content)
    path = f"zip://a.jsonl::{tmp_path}/c.zip"
    with pytest.raises(
        WrongRequest, match=r"zip://a\.jsonl::.* cannot be opened \(.+\): give a local path or a URL"
    ):
        known(path)


def test_coders_are_told_apart(tmp_path: Path) -> None:
    """By a column; without a word on which is whose, several are refused."""
    named = [{**row, "layer": layer} for layer in ("5", "6") for row in rows(f"ships of {layer}")]
    path = lines(tmp_path / "both.jsonl", named)
    options = {"columns": {"coder": "layer"}, "coders": {"toy": "6", "other": "5"}}
    assert "ships of 6" == known(path, **options)[3].text  # type: ignore[arg-type]
    assert "ships of 5" == known(path, coder="other", **options)[3].text  # type: ignore[arg-type]
    assert {None} == {value.text for value in known(path, coder="third", **options).values()}  # type: ignore[arg-type]
    with pytest.raises(
        WrongRequest, match=r"explanations of several coders \(5, 6\); say with coders which is toy"
    ):
        known(path, columns={"coder": "layer"})
    with pytest.raises(WrongRequest, match=r"has no explanations of 7, as coders.toy has it; it has 5, 6"):
        known(path, columns={"coder": "layer"}, coders={"toy": "7"})


def test_a_url_is_as_good_as_a_path(tmp_path: Path) -> None:
    """Whatever fsspec opens."""
    with fsspec.open("memory://theirs/part.jsonl", "w") as file:
        file.write(json.dumps({"feature": 3, "text": "ships"}))  # type: ignore[union-attr]
    assert ["ships", None, None] == texts("memory://theirs")


FAULTS = {
    "no such file": (None, {}, "there are no explanations at"),
    "no JSON": ('{"feature": 3', {}, r"line 1 of .* is not JSON"),
    "no object": ("[3]", {}, r"line 1 of .* is list, not an object"),
    "no UTF-8": (b'{"feature": 3, "text": "\xff"}', {}, r"line 1 of .* is not JSON"),
    "no such key": ('{"feature": 3, "label": "x"}', {}, "has no text: it has feature, label"),
    "no such key to choose by": ('{"feature": 3, "text": "x"}', {"where": {"model": "m"}}, "has no model"),
    "a feature that is none": ('{"feature": -1, "text": "x"}', {}, "feature of line 1 .* is -1, not the index"),
    "a feature that is true": ('{"feature": true, "text": "x"}', {}, "is True, not the index"),
    "a text that is none": ('{"feature": 3, "text": 4}', {}, "text of line 1 .* is 4, not text"),
    "two of one feature": ('{"feature": 3, "text": "x"}\n{"feature": "3", "text": "y"}', {}, "second explanation of"),
    "nothing that is wanted": ('{"feature": 3, "text": "x"}', {"where": {"text": "y"}}, "has no explanations where"),
    "a broken archive": (b"\x1f\x8b nothing", {"name": "x.jsonl.gz"}, "cannot be read"),
    "no parquet": ("PAR1", {"form": "parquet", "name": "x.parquet"}, "cannot be read"),
    "no list": ("{}", {"form": "neuronpedia", "name": "x.json"}, "holds dict, not a list"),
    "a broken export": ("[{]", {"form": "neuronpedia", "name": "x.json"}, "is not JSON"),
    "a strange file of delphi's": ('"x"', {"form": "delphi", "name": "notes.txt"}, "is not called as delphi"),
    "a text of delphi's that is no JSON": ("x", {"form": "delphi", "name": "a_latent3.txt"}, "is not JSON"),
    "a text of delphi's that is none": ("[3]", {"form": "delphi", "name": "a_latent3.txt"}, "holds list"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "options", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_by_its_place(
    content: str | bytes | None, options: dict, message: str, tmp_path: Path
) -> None:
    """In one sentence, already when the run is checked."""
    name, form = options.get("name", "x.jsonl"), options.get("form", "jsonl")
    if content is not None:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    explainer = Import(
        kind="import", path=str(tmp_path), format=form, where=options.get("where", {})
    )  # fmt: skip
    with pytest.raises(WrongRequest, match=message):
        explainer.check(["toy"])


def test_the_content_decides_what_is_made_again(tmp_path: Path) -> None:
    """Another place of the same files changes nothing, another text or another choice does."""

    def identity(folder: str, text: str = "ships", **options: object) -> object:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = lines(tmp_path / folder / "x.jsonl", rows(text))
        return [
            Import.model_validate({"kind": "import", "format": "jsonl", "path": where, **options}).identity()
            for where in (path, str(tmp_path / folder))
        ]

    first = identity("a")
    assert first == identity("b")
    assert first != identity("a", "boats")
    assert first != identity("a", where={"feature": 3})


@given(st.dictionaries(st.integers(0, 10**6), st.text(min_size=1, max_size=20), max_size=20))
def test_every_text_comes_back(tmp_path_factory: pytest.TempPathFactory, message: dict[int, str]) -> None:
    """Whatever characters it has, blanks apart."""
    path = lines(
        tmp_path_factory.mktemp("x") / "x.jsonl",
        [{"feature": f, "text": t} for f, t in message.items()] or rows("x"),
    )
    explainer = Import(kind="import", path=path, format="jsonl")
    result = explainer.known("toy", [replace(WHOLE, feature=feature) for feature in message])
    assert {feature: " ".join(text.split()) or None for feature, text in message.items()} == {
        feature: item.text for feature, item in result.items()
    }


@pytest.mark.parametrize(
    ("options", "coders", "message"),
    [
        ({}, ("a",), None),
        ({}, ("a", "b"), "coders must say what the files call a and b"),
        ({"columns": Columns(coder="layer"), "coders": {"a": "5"}}, ("a", "b"), None),
        ({"columns": Columns(coder="layer"), "coders": {"c": "5"}}, ("a",), "c, which is no coder of this run"),
    ],
)  # fmt: skip
def test_a_run_of_several_coders_must_say_which_is_which(
    options: dict, coders: tuple[str, ...], message: str | None
) -> None:
    """One explanation is not of two coders' features."""
    explainer = Import.model_validate({"kind": "import", "path": "x", "format": "jsonl", **options})
    lacking = explainer.unmet_need(ExplainerInputs(coders, "./lake", 40, 0, 10))
    assert lacking is None if message is None else message in (lacking or "")


def test_coders_need_a_column() -> None:
    """Names of coders are of no use where nothing says whose a row is."""
    with pytest.raises(ValidationError, match=r"give it as columns\.coder"):
        Import(kind="import", path="x", format="jsonl", coders={"toy": "5"})
