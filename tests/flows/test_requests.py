"""Wrong requests: refused in one sentence with exit code 2, before anything is written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli.main import main
from tests.flows.command import CORPUS, TOY, write_config
from tests.tasks.llm.faulty_server import faulty_server, refusing_port

Case = Callable[[Path], tuple[dict[str, object], tuple[str, ...]]]
"""Given an empty folder: the changed keys of the config, and what the message must say."""

SPARSIFY = TOY / "coder" / "sparsify" / "layers.2"


def _coder(path: Path, site: str = "layers.2", kind: str = "sparsify") -> dict[str, object]:
    return {"coders": [{"name": "demo", "site": site, "source": {"kind": kind, "path": str(path)}}]}


def _judge(url: str) -> dict[str, object]:
    return {
        "explainers": [{"kind": "exemplars", "reader": "judge"}],
        "readers": {
            "judge": {"kind": "openai", "urls": [url], "model": "tiny"},
            "baseline": {"kind": "baseline"},
        },
    }


def site_that_is_not_there(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return _coder(SPARSIFY, site="layer.2"), ("no site layer.2", "layers.2")


def site_of_another_width(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return _coder(SPARSIFY, site="layers.2.mlp.gate_proj"), ("reads vectors of 192", "layers.2.mlp.gate_proj")


def site_where_it_does_not_fit(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return _coder(SPARSIFY, site="layers.2.input_layernorm"), ("does not fit layers.2.input_layernorm", "FVU")


def corrupt_weights(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    shutil.copytree(SPARSIFY, folder / "coder")
    weights = folder / "coder" / "sae.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    return _coder(folder / "coder"), ("sae.safetensors",)


def pickled_weights(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    shutil.copytree(SPARSIFY, folder / "coder")
    (folder / "coder" / "sae.safetensors").rename(folder / "coder" / "sae.pt")
    return _coder(folder / "coder"), ("sae.pt", "pickle")


def coder_that_is_not_there(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return _coder(folder / "none"), ("cfg.json",)


def format_of_another_library(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return _coder(SPARSIFY, kind="saelens"), ("sae_weights.safetensors",)


def subject_that_is_not_there(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return {"subject": {"model": str(folder / "none")}}, (str(folder / "none"),)


def corpus_that_is_not_there(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return {"corpus": {"path": str(folder / "none.parquet"), "tokens": 4096}}, ("none.parquet",)


def corpus_without_rows(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), folder / "empty.parquet")
    return {"corpus": {"path": str(folder / "empty.parquet"), "tokens": 4096}}, ("empty.parquet", "no text")


def corpus_without_the_column(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    changes = {"path": str(CORPUS), "column": "words", "tokens": 4096}
    return {"corpus": changes}, ("no column words", "text")


def window_longer_than_a_sequence(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return {"sample": {"window": 257}}, ("sample.window 257", "sequence 256")


def lake_in_a_file(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    (folder / "file").touch()
    return {"lake": str(folder / "file" / "lake")}, ("cannot be written", "file/lake")


def lake_of_another_kind(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return {"lake": "ftp://somewhere/lake"}, ("ftp:// is not supported", "s3://")


def endpoint_that_is_not_there(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    with refusing_port() as url:
        return _judge(url), ("readers.judge", url)


def feature_beyond_the_width(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return {"features": {"choose": "list", "features": [3, 2048]}}, ("feature 2048", "0 to 2047")


def more_features_than_there_are(folder: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    return {"features": {"choose": "sample", "n": 5000}}, ("samples 5000", "2048 features")


CASES: tuple[Case, ...] = (
    feature_beyond_the_width,
    more_features_than_there_are,
    site_that_is_not_there,
    site_of_another_width,
    site_where_it_does_not_fit,
    corrupt_weights,
    pickled_weights,
    coder_that_is_not_there,
    format_of_another_library,
    subject_that_is_not_there,
    corpus_that_is_not_there,
    corpus_without_rows,
    corpus_without_the_column,
    window_longer_than_a_sequence,
    lake_in_a_file,
    lake_of_another_kind,
    endpoint_that_is_not_there,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_wrong_request_is_refused(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong request ends with exit code 2 and one sentence that says what is wrong, and writes nothing."""
    lake = tmp_path / "lake"
    changes, messages = case(tmp_path)
    config = write_config(tmp_path, **{"lake": str(lake), **changes})

    code = main(["run", str(config)])

    printed = capsys.readouterr().err.strip()
    *before, message = printed.splitlines()
    assert 2 == code, printed
    assert message.startswith("gloss: "), printed
    # What is wrong with a file or an endpoint is seen while the model loads, which says so first.
    assert before in ([], ["loading the model, trying the coders"]), printed
    assert [] == [part for part in messages if part not in message], message
    assert not lake.exists()


def test_a_model_that_the_endpoint_lacks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names that the endpoint lists are in the message."""
    with faulty_server(models=("llama-8b", "llama-70b")) as server:
        config = write_config(tmp_path, str(tmp_path / "lake"), **_judge(server.url))

        code = main(["run", str(config)])

    assert 2 == code
    assert "llama-8b" in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sql", "select 1"], "holds no run"),
        (["tables"], "holds no run"),
        (["status"], "holds no run"),
        (["status", "other"], "run other is not in"),
        (["tables", "feature"], "feature is not a table; the tables are tokens"),
        (["sql", "select 1", "--format", "parquet"], "-o FILE"),
    ],
)
def test_a_question_to_an_empty_lake_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Questions that cannot be answered say what is missing, with exit code 2."""
    code = main([*arguments, "--lake", str(tmp_path / "lake")])

    assert (2, True) == (code, message in capsys.readouterr().err)
