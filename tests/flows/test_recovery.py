"""What a user does about a lake, an endpoint or a config that is not as it was."""

import shutil
from pathlib import Path

import pytest

from flows.cli.main import main
from tests.flows.command import gloss, tables, write_config
from tests.s3 import Place
from tests.tasks.llm.faulty_server import Fault, always, faulty_server


@pytest.mark.faults
def test_a_lost_part_is_noticed_and_made_again(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Questions are answered without the step whose part was deleted, say so, and the next run makes it again."""
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    next(lake.glob("judgements/*/*.parquet")).unlink()

    assert 0 == main(["sql", "select count(*) from judgements", "--lake", str(lake)])
    assert ".parquet" in capsys.readouterr().err
    ended = gloss(["run", str(write_config(tmp_path, str(lake)))], prefect)

    assert 0 == ended.returncode, ended.stderr
    assert tables(str(undisturbed)) == tables(str(lake))


def test_a_finished_run_under_another_name_is_that_run(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same config with another name needs no work, and its tables are found under its name."""
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    config = write_config(
        tmp_path, str(lake), run="other", scorers=[{"kind": "detection", "reader": "baseline"}]
    )

    code = main(["run", str(config)])

    shown = capsys.readouterr().out
    assert 0 == code
    assert "Nothing left to do" in shown
    assert ("detection" in shown, "fuzzing  " in shown.split("Best")[0]) == (True, False)


@pytest.mark.faults
def test_an_outage_of_the_endpoint_commits_nothing(tmp_path: Path, prefect: dict[str, str]) -> None:
    """When an endpoint answers nothing at all the run fails, and goes on once the endpoint is mended."""
    with faulty_server(always(Fault.BAD_REQUEST)) as server:
        judge = {"kind": "openai", "urls": [server.url], "model": "tiny"}
        changes = {
            "features": {"choose": "sample", "n": 12},
            "explainers": [{"kind": "exemplars", "reader": "judge"}],
            "scorers": [],
            "readers": {"judge": judge},
        }
        config = write_config(tmp_path, str(tmp_path / "lake"), **changes)
        ended = gloss(["run", str(config)], prefect)
        port = int(server.origin.rsplit(":", 1)[1])

    assert 1 == ended.returncode
    assert "got a reply" in ended.stderr
    assert "the prompt is too long" in ended.stderr

    with faulty_server(answer=lambda _: "EXPLANATION: a word", port=port):
        ended = gloss(["run", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    assert [] == [row for row in tables(str(tmp_path / "lake"))["explanations"] if row[5] is None]


@pytest.mark.faults
def test_nothing_explained_is_not_a_success(
    tmp_path: Path, undisturbed: Path, prefect: dict[str, str]
) -> None:
    """A run in which every feature is skipped says why and ends with exit code 1."""
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    sample = {
        "explain": 20,
        "per_decile": 4,
        "negatives": [{"kind": "random", "n": 20}],
        "min_firings": 10**9,
    }

    ended = gloss(["run", str(write_config(tmp_path, str(lake), sample=sample))], prefect)

    assert 1 == ended.returncode, ended.stderr
    assert "fewer than 1000000000 tokens" in ended.stdout
    assert "Nothing was explained" in ended.stdout


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_SECRET_ACCESS_KEY", "wrong")],
)
@pytest.mark.parametrize("words", [["status"], ["sql", "select 1"], ["run"]], ids=lambda words: words[0])
def test_a_bucket_that_cannot_be_reached_is_refused(
    s3: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    words: list[str],
) -> None:
    """A wrong address or a wrong key of a bucket is one sentence with exit code 2."""
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    words = ["run", str(write_config(tmp_path, "ignored"))] if words == ["run"] else words

    code = main([*words, "--lake", s3.uri])

    message = capsys.readouterr().err.strip()
    assert 2 == code, message
    assert "cannot be reached" in message
    assert 1 == len(message.splitlines()), message


def test_a_bucket_that_is_not_there_is_refused(
    s3: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run does not begin when its bucket doesn't exist."""
    assert s3.uri

    code = main(["run", str(write_config(tmp_path, "s3://nobucket/lake"))])

    assert 2 == code
    assert "s3://nobucket/lake cannot be written" in capsys.readouterr().err
