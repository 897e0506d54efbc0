"""The command from its options to its report, on sizes that take seconds."""

import json
from pathlib import Path

import pytest

from benchmarks import child, page
from benchmarks.readers import __main__ as command
from benchmarks.readers import cases, speed
from benchmarks.readers.questions import SHOWN, TOKENS, answer, windows
from benchmarks.readers.tables import tables
from benchmarks.report import Figure, Report
from storage.errors import RunFailed
from tests.benchmarks.readers.recorded_run import recorded_run
from tests.tasks.llm.faulty_server import faulty_server, refusing_port

pytestmark = pytest.mark.e2e


def test_a_quick_run_measures_and_leaves_the_page_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the peers' environment it says so and has no ratio."""
    monkeypatch.setitem(
        cases.SIZES, "quick", cases.Size(questions=300, peer_questions=10, rounds=1, features=1, contexts=200)
    )
    monkeypatch.setattr(page, "FILE", tmp_path / "page.md")
    file = tmp_path / "readers.json"

    code = command.main(
        ["--quick", "--json", str(file), "--peers", str(tmp_path), "--scratch", str(tmp_path)]
    )

    assert 0 == code
    report = Report.read(file)
    wanted = {"requests_per_second", "cpu_ms_per_request", "cpu_over_bare"}
    assert wanted <= set(report.named)
    assert set(report.bounds) == wanted
    assert {"kept_requests_per_second", "kept_cpu_ms_per_request"} <= set(report.named)
    assert {f"shown_{suffix}_cpu_ms_per_context" for suffix in ("1", "5", "20", "1_alone")} <= set(
        report.named
    )
    assert all(figure.value > 0 for figure in report.figures)
    assert "delphi" in json.loads(file.read_text())["left_out"][0]
    assert "gloss, every reply kept" in capsys.readouterr().out
    assert not (tmp_path / "page.md").exists()


def answering(_module: str, request: dict[str, int], **_: object) -> dict[str, float]:
    """Stand for a child that got every answer."""
    return {"answered": request["questions"], "wall_s": 1.0, "cpu_s": 1.0}


def test_a_run_is_judged_again_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In rounds and with 1, 5 and 20 contexts per question; nothing of it is left out."""
    size = cases.Size(questions=100, peer_questions=10, rounds=1, features=4, contexts=100)
    monkeypatch.setitem(cases.SIZES, "quick", size)
    monkeypatch.setattr(speed.child, "run", answering)
    lake, file = recorded_run(f"{tmp_path}/lake"), tmp_path / "readers.json"

    code = command.main(
        ["--quick", "--json", str(file), "--peers", str(tmp_path), "--lake", lake.uri, "--run", "tiny"]
    )

    assert 0 == code
    report = Report.read(file)
    assert {"adaptive_spearman", "shown_1_f1", "shown_5_f1", "shown_20_f1"} <= set(report.named)
    assert "4 features of tiny" == report.workload["judged again"]
    assert 1 == len(report.left_out)
    assert "| contexts per question | balanced accuracy | F1 |" in capsys.readouterr().out


def test_a_reader_that_is_not_there_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2 and its reason."""
    monkeypatch.setattr(speed.child, "run", lambda *_, **__: pytest.fail("it was measured"))
    lake, reader = recorded_run(f"{tmp_path}/lake"), tmp_path / "reader.yaml"
    with refusing_port() as url:
        reader.write_text(json.dumps({"kind": "openai", "urls": [url], "model": "m"}), encoding="utf-8")
        code = command.main(["--quick", "--lake", lake.uri, "--reader", str(reader)])
    assert 2 == code
    assert "cannot be reached" in capsys.readouterr().err
    assert 2 == command.main(["--quick", "--reader", str(reader)])
    assert "name a lake with --lake" in capsys.readouterr().err


def test_a_system_that_loses_answers_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fast that does not answer."""
    monkeypatch.setattr(speed.child, "run", lambda *_, **__: {"answered": 9, "wall_s": 1.0, "cpu_s": 1.0})
    with pytest.raises(RunFailed, match="got 9 answers to 10 questions"):
        speed.measure(cases.Size(10, 10, 1, 1, 100), None, tmp_path)


def test_ratios_are_those_of_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was measured in the same round, so that a slow moment slows both."""
    # In the order of measuring: each round's questions, of which the peer gets ten, and seconds.
    spent = {
        "gloss": iter([(1.0, 1.0), (2.0, 9.0)]),
        "bare": iter([(1.0, 0.5), (1.0, 3.0)]),
        "kept": iter([(1.0, 1.0), (1.0, 1.0)]),
        "peer": iter([(0.5, 1.0), (1.0, 1.0)]),
    }

    def run(module: str, request: dict[str, int], **_: object) -> dict[str, object]:
        module = module.removeprefix("benchmarks.readers.")
        names = {"ours": "kept" if "lake" in request else "gloss", "bare": "bare", "delphi_peer": "peer"}
        wall, cpu = next(spent[names[module]])
        return {"answered": request["questions"], "wall_s": wall, "cpu_s": cpu, "versions": {"delphi": "0"}}

    monkeypatch.setattr(speed.child, "run", run)
    result = {
        figure.name: figure
        for figure in speed.measure(
            cases.Size(100, 10, 2, 1, 100), speed.Peers("python", ""), tmp_path
        ).figures
    }
    assert result["cpu_over_bare"] == Figure.of("cpu_over_bare", [2.0, 3.0])
    # gloss 100 / s and 50 / s, the peer 20 / s and 10 / s.
    name = "requests_per_second_over_peer"
    assert result[name] == Figure.of(name, [5.0, 5.0])


def test_the_bare_client_posts_what_gloss_posts() -> None:
    """The same bodies, and as many; otherwise the ratio of their costs would say nothing."""
    posted = {}
    for module in ("ours", "bare"):
        with faulty_server(answer=lambda _body: answer(SHOWN)) as server:
            request = {"url": server.url, "questions": 20, "in_flight": 4}
            assert 20 == child.run(f"benchmarks.readers.{module}", request, threads=1)["answered"]
            posted[module] = {json.dumps(body, sort_keys=True) for body in server.questions}
            assert {"/v1/chat/completions"} == set(server.paths)
    assert posted["ours"] == posted["bare"]
    assert 20 == len(posted["bare"])


def test_every_question_has_windows_of_its_own() -> None:
    """The same for whoever asks."""
    assert windows(3) == windows(3)
    assert windows(3) != windows(4)
    assert [len(window) for window in windows(3)] == [TOKENS] * SHOWN


def test_the_table_shows_what_was_measured() -> None:
    """And nothing of whom was left out."""
    figures = tuple(Figure.of(f"{name}_per_request", [0.5], "ms") for name in ("cpu_ms", "peer_cpu_ms"))
    rates = (Figure.of("requests_per_second", [1500.0]),)
    text = "\n".join(tables(Report("readers", {}, figures + rates, "", "")))
    assert "| gloss | 1,500 | 0.5 |" in text
    assert "delphi" not in text
