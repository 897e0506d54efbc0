"""Requests out as a batch file and its results in: what was read need not be asked."""

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from flows import preflight, replay
from flows.cli.main import main
from storage import runs
from storage.errors import RunFailed
from storage.lake import Lake
from tasks.llm.openai import batch_files
from tasks.llm.openai.batch_files import Files
from tests.flows.command import gloss, write_config
from tests.tasks.llm.faulty_server import Body
from tests.tasks.llm.openai_replies import answered, with_choice


def _config(folder: Path, **reader: object) -> Path:
    judge = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "tiny", **reader}
    return write_config(
        folder,
        str(folder / "lake"),
        run="batch",
        explainers=[{"kind": "exemplars", "reader": "judge"}],
        scorers=[{"kind": "detection", "reader": "judge"}],
        readers={"judge": judge},
    )


def _lines(file: Path) -> list[Body]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _reply_to(body: Body) -> str:
    mark = sha256(json.dumps(body).encode()).hexdigest()
    question = body["messages"][-1]["content"] if "messages" in body else ""
    if "Description:" not in question:
        return f"EXPLANATION: Words of kind {mark}."
    shown = len(re.findall(r"^Example \d+:", question, re.MULTILINE))
    return str([int(sign, 16) % 2 for sign in mark[:shown]])


def _result(line: Body) -> Body:
    response = {"status_code": 200, "request_id": "1", "body": answered(line["body"], _reply_to)}
    return {"id": "1", "custom_id": line["custom_id"], "response": response, "error": None}


def _write(file: Path, results: list[Body]) -> Path:
    file.write_text("".join(f"{json.dumps(result)}\n" for result in results), encoding="utf-8")
    return file


@pytest.fixture
def config(undisturbed: Path, tmp_path: Path) -> Path:
    """The config of a run whose contexts are there and whose endpoint is not."""
    shutil.copytree(undisturbed, tmp_path / "lake")
    return _config(tmp_path)


def test_what_a_batch_answered_need_not_be_asked(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file holds what a run would ask; failures and aborted replies are asked again; no table is written."""
    before = sorted((tmp_path / "lake").rglob("*.parquet"))
    assert 0 == main(["batch", "write", str(config), "explain", str(tmp_path / "out.jsonl")])
    lines = _lines(tmp_path / "out.jsonl")
    assert len(lines) > 10
    assert f"{len(lines)} requests of explain are in" in capsys.readouterr().out
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert {line["body"]["model"] for line in lines} == {"tiny"}
    assert len({line["custom_id"] for line in lines}) == len(lines)

    results = [_result(line) for line in lines]
    results[0]["response"] = {"status_code": 400, "body": {"error": {"message": "the prompt is too long"}}}
    results[1]["response"]["body"] = with_choice(results[1]["response"]["body"], finish_reason="abort")
    results.append({**results[2], "custom_id": "somebody else's"})
    assert 1 == main(["batch", "read", str(config), str(_write(tmp_path / "in.jsonl", results[::-1]))])
    shown = capsys.readouterr().out
    assert f"{len(lines) - 2} replies of {len(results)} results are kept" in shown
    assert "failed: the prompt is too long" in shown
    assert "finish_reason abort" in shown
    assert "1 belong to no request" in shown
    again = f"batch write {config} explain FILE"
    assert f"2 have no reply yet; into a new file: gloss {again}" in shown
    assert f"Next: gloss explain {config}\n" in shown

    assert 0 == main(["batch", "write", str(config), "explain", str(tmp_path / "again.jsonl")])
    assert _lines(tmp_path / "again.jsonl") == lines[:2]
    new = {
        path.relative_to(tmp_path / "lake").parts[0]
        for path in (tmp_path / "lake").rglob("*.parquet")
        if path not in before
    }
    assert new == {"replies"}


def _kept(config: Path, stage: str, folder: Path, *, but: int = 0) -> list[Body]:
    """Have a stage's requests answered, all but some, and the replies kept; returns the requests."""
    assert 0 == main(["batch", "write", str(config), stage, str(folder / f"{stage}-{but}.jsonl")])
    lines = [line for file in sorted(folder.glob(f"{stage}-{but}*.jsonl")) for line in _lines(file)]
    results = _write(folder / f"{stage}-{but}.results", [_result(line) for line in lines[but:]])
    assert 0 == main(["batch", "read", str(config), str(results)])
    return lines


@pytest.mark.slow
def test_a_run_needs_no_server_where_batches_answered_all(
    config: Path, tmp_path: Path, prefect: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Stage by stage; what is left to ask is counted instead of being asked for in vain."""
    assert len(_kept(config, "explain", tmp_path, but=3)) > 10
    assert 2 == main(["explain", str(config)])
    message = capsys.readouterr().err
    assert "cannot be reached (connection refused)" in message
    assert "requests of exemplars without a kept reply: 3, which gloss batch can write into a file" in message
    assert 3 == len(_kept(config, "explain", tmp_path))
    ended = gloss(["explain", str(config)], prefect)
    assert 0 == ended.returncode, ended.stderr
    message = (
        "readers.judge is not there and not needed: the kept replies answer all that exemplars would ask"
    )
    assert 1 == ended.stderr.count(message)

    assert 2 == main(["score", str(config)])
    message = capsys.readouterr().err
    assert len(_kept(config, "score", tmp_path)) > 1_000
    assert "requests of detection without a kept reply: more than 1,000, which" in message
    ended = gloss(["run", str(config)], prefect)
    assert 0 == ended.returncode, ended.stderr

    lake = Lake(str(tmp_path / "lake"))
    with lake.connect() as connection:
        runs.create_views(lake, connection, "batch")
        scored = "select scorer, count(score) > 0 from scores group by all"
        assert [("detection", True)] == connection.sql(scored).fetchall()
        assert [("ok",)] == connection.sql("select distinct status from requests").fetchall()


def test_more_than_can_soon_be_counted_is_not_counted(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is down is told of within seconds, however large the run."""
    assert len(_kept(config, "explain", tmp_path, but=20)) > 20
    monkeypatch.setattr(preflight, "MANY", 3)
    monkeypatch.setattr(replay, "MANY", 3)
    assert 2 == main(["explain", str(config)])
    assert "requests of exemplars without a kept reply: more than 3, which" in capsys.readouterr().err


def test_routes_that_vllm_takes_no_batches_for_are_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their files; other services may take them."""
    text = yaml.safe_load(config.read_text(encoding="utf-8"))
    text["explainers"][0]["reader"] = "baseline"
    text["readers"]["baseline"] = {"kind": "baseline"}
    text["scorers"].append({"kind": "surprisal", "reader": "judge"})
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    assert 0 == main(["batch", "write", str(config), "score", str(tmp_path / "out.jsonl")])
    files = [tmp_path / "out.jsonl", tmp_path / "out-2.jsonl"]
    routes = [{line["url"] for line in _lines(file)} for file in files]
    assert [{"/v1/chat/completions"}, {"/v1/completions"}] == routes
    told = [line for line in capsys.readouterr().out.splitlines() if "vllm run-batch" in line]
    assert [
        f"  vllm run-batch does not take {files[1]}, which is for /v1/completions: give it to a service that does"
    ] == told


def test_what_was_too_long_comes_in_halves(config: Path, tmp_path: Path) -> None:
    """With the next file, where failures are kept; their wholes do not come again, and in the end nothing does."""
    kept = _config(tmp_path, replies="keep_failures")
    assert 0 == main(["batch", "write", str(kept), "explain", str(tmp_path / "out.jsonl")])
    lines = _lines(tmp_path / "out.jsonl")
    results = [_result(line) for line in lines]
    error = {"message": "the prompt has 5000 tokens", "param": "input_tokens"}
    for result in results[:3]:
        result["response"] = {"status_code": 400, "body": {"error": error}}
    assert 1 == main(["batch", "read", str(kept), str(_write(tmp_path / "in.jsonl", results))])

    assert 0 == main(["batch", "write", str(kept), "explain", str(tmp_path / "halves.jsonl")])
    halves = _lines(tmp_path / "halves.jsonl")
    shown = [
        [line["body"]["messages"][-1]["content"].count("Example ") for line in subset]
        for subset in (lines[:3], halves)
    ]
    assert shown[1] == [(count + 1) // 2 for count in shown[0]]
    assert not {line["custom_id"] for line in halves} & {line["custom_id"] for line in lines}
    answers = [_result(line) for line in halves]
    assert 0 == main(["batch", "read", str(kept), str(_write(tmp_path / "in2.jsonl", answers))])
    assert 0 == main(["batch", "write", str(kept), "explain", str(tmp_path / "left.jsonl")])
    assert not (tmp_path / "left.jsonl").exists()


def test_more_than_one_batch_takes_goes_into_several_files(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are numbered, and the results are read from several files or from their folder."""
    assert 0 == main(["batch", "write", str(config), "explain", str(tmp_path / "whole.jsonl")])
    lines = _lines(tmp_path / "whole.jsonl")
    monkeypatch.setattr(batch_files, "_REQUESTS", 5)
    assert 0 == main(["batch", "write", str(config), "explain", str(tmp_path / "out.jsonl")])
    files = [
        tmp_path / "out.jsonl",
        *(tmp_path / f"out-{n}.jsonl" for n in range(2, -(-len(lines) // 5) + 1)),
    ]
    assert len(files) > 2
    assert sorted(tmp_path.glob("out*")) == sorted(files)
    assert [line for file in files for line in _lines(file)] == lines
    assert {5} == {len(_lines(file)) for file in files[:-1]}
    assert ", ".join(map(str, files)) in capsys.readouterr().out.replace("\n", "")

    (tmp_path / "results").mkdir()
    for file in files[:2]:
        _write(tmp_path / f"{file.stem}.results", [_result(line) for line in _lines(file)])
    for file in files[2:]:
        _write(tmp_path / "results" / file.name, [_result(line) for line in _lines(file)])
    first = [str(tmp_path / f"{file.stem}.results") for file in files[:2]]
    assert 0 == main(["batch", "read", str(config), *first])
    assert "10 replies of 10 results are kept" in capsys.readouterr().out
    assert 0 == main(["batch", "read", str(config), str(tmp_path / "results")])
    shown = capsys.readouterr().out
    assert f"{len(lines) - 10} replies of {len(lines) - 10} results" in shown
    assert "no reply yet" not in shown
    assert 0 == main(["batch", "write", str(config), "explain", str(tmp_path / "left.jsonl")])
    assert not list(tmp_path.glob("*left*"))
    message = f"Nothing of explain is left to ask, and no file is written. Next: gloss explain {config}\n"
    assert message == capsys.readouterr().out


def test_a_stage_without_what_it_builds_on_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verdicts need explanations: with the command that makes them, on the same keys, and without a file."""
    asked = ["batch", "write", str(config), "--set", "seed=22", "score", str(tmp_path / "out.jsonl")]
    assert 1 == main(asked)
    message = capsys.readouterr().err
    assert "explanations of demo/exemplars is not complete" in message
    assert message.endswith(f"run this first: gloss explain {config} --set seed=22\n")
    assert 1 == main([*asked[:-2], "explain", asked[-1], "--lake", f"{tmp_path}/new lake"])
    message = capsys.readouterr().err
    assert "contexts of demo is not complete" in message
    assert message.endswith(f"gloss cache {config} --set seed=22 --lake '{tmp_path}/new lake'\n")
    assert not list(tmp_path.glob("*out*"))


def test_what_fails_midway_leaves_no_file(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command then writes it."""
    write = Files.write

    def fail(self: Files, model: str, route: str, line: str) -> None:
        write(self, model, route, line)
        message = "the disk is full"
        raise RunFailed(message)

    asked = ["batch", "write", str(config), "explain", str(tmp_path / "out.jsonl")]
    with monkeypatch.context() as during:
        during.setattr(Files, "write", fail)
        assert 1 == main(asked)
    assert not list(tmp_path.glob("*out*"))
    assert 0 == main(asked)
    assert [tmp_path / "out.jsonl"] == list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("content", ["no JSON\n", '{"custom_id": "a"}\n', "[1]\n", '"text"\n'])
def test_a_file_that_holds_no_results_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """The file of requests among them."""
    file = tmp_path / "in.jsonl"
    file.write_text(content, encoding="utf-8")
    assert 2 == main(["batch", "read", str(_config(tmp_path)), str(file)])
    assert "line 1 of" in capsys.readouterr().err


def test_wrong_requests_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file is written over, and there must be somebody to ask, a place for what is said, and results."""
    file = tmp_path / "there.jsonl"
    file.write_text("", encoding="utf-8")
    assert 2 == main(["batch", "write", str(_config(tmp_path)), "explain", str(file)])
    assert "there.jsonl is there already" in capsys.readouterr().err
    assert 2 == main(["batch", "write", str(_config(tmp_path, replies="off")), "explain", "new.jsonl"])
    assert "readers.judge.replies is off" in capsys.readouterr().err
    baseline = write_config(tmp_path, str(tmp_path / "lake"))
    assert 2 == main(["batch", "write", str(baseline), "explain", "new.jsonl"])
    assert "asks no endpoint" in capsys.readouterr().err
    assert 2 == main(["batch", "read", str(_config(tmp_path)), str(tmp_path / "nowhere.jsonl")])
    assert "nowhere.jsonl cannot be read" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert 2 == main(["batch", "read", str(_config(tmp_path)), str(tmp_path / "empty")])
    assert "no file that ends with .jsonl" in capsys.readouterr().err
    assert 2 == main(
        ["batch", "write", str(_config(tmp_path)), "explain", str(tmp_path / "no" / "new.jsonl")]
    )
    assert "new.jsonl cannot be written" in capsys.readouterr().err
