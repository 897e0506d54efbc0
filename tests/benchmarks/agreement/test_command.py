"""The command from its options to its report and the page, with a stand-in for delphi."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import child, peers
from benchmarks.agreement import __main__ as command
from benchmarks.agreement import compare
from benchmarks.agreement.cases import CASES
from benchmarks.agreement.verdict import verdict
from benchmarks.peers import Peers
from benchmarks.readers.recorded import recorded
from benchmarks.report import Report
from tasks.contexts.context import Context, Feature
from tasks.contexts.paper_marks import PaperMarks
from tests.benchmarks.readers.recorded_run import recorded_run

SEED = 22
PAGE = (
    "before\n<!-- delphi: written by python -m benchmarks.agreement -->\nold\n<!-- end of delphi -->\nafter\n"
)


def marked(context: Context, places: tuple[int, ...]) -> str:
    """As delphi marks: each run of tokens between one pair."""
    pieces = [f"<<{string}>>" if place in places else string for place, string in enumerate(context.strings)]
    return "".join(pieces).replace(">><<", "")


def delphi(_module: str, request: Mapping[str, Any], **_: object) -> dict[str, Any]:
    """What delphi's scorers would answer, by the same rules."""
    judged = []
    for about in request["features"]:
        windows = [
            Context(
                i,
                "activating" if w["activating"] else "random",
                None,
                tuple(w["strings"]),
                tuple(w["activations"]),
            )
            for i, w in enumerate(about["windows"])
        ]
        paper = PaperMarks.of([window for window in windows if window.activating], SEED)
        shown = []
        for window in windows:
            text = (
                marked(window, paper.correct_marks(window))
                if request["kind"] == "fuzzing"
                else marked(window, ())
            )
            if not window.activating and request["kind"] == "fuzzing":
                text = marked(window, paper.wrong_marks(window))
            shown.append((window.context, window.activating, text))
            if "fuzz_type" in request["options"]:
                shown.append((window.context, False, marked(window, paper.wrong_marks(window))))
        judged.append([(place, truth, verdict(about["explanation"], text)) for place, truth, text in shown])
    return {"judged": judged, "versions": {"eai-delphi": "0.1.3"}}


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "peers", lambda *_: Peers("python", ""))
    monkeypatch.setattr(child, "run", delphi)


@pytest.mark.usefixtures("_environment")
def test_equal_verdicts_are_counted_and_written_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Detection and the paper's fuzzing agree in every window; gloss' own marks lie elsewhere."""
    lake, page = recorded_run(f"{tmp_path}/lake"), tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(command, "FILE", page)
    assert 0 == command.main(["--lake", lake.uri, "--json", str(tmp_path / "report.json")])
    report = Report.read(tmp_path / "report.json")
    for case in CASES:
        equal, unequal = (report[f"{case.name}_{name}"].value for name in ("equal", "unequal"))
        assert (equal == 5) == (unequal == 0) == case.equal
        assert case.equal == (report[f"{case.name}_largest"].value == 0)
    assert all(bound.met(report[name]) for name, bound in report.bounds.items())
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n<!-- delphi: written by python -m benchmarks.agreement -->\n| gloss |")
    assert written.endswith("\n<!-- end of delphi -->\nafter\n")
    assert "old" not in written
    assert "| `detection` | `DetectionScorer` | 5 of 5 |" in capsys.readouterr().out


@pytest.mark.usefixtures("_environment")
def test_a_quick_run_leaves_the_page_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is of three features, too few for what the page says."""
    lake, page = recorded_run(f"{tmp_path}/lake"), tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(command, "FILE", page)
    assert 0 == command.main(["--quick", "--lake", lake.uri, "--json", str(tmp_path / "report.json")])
    assert 3 == Report.read(tmp_path / "report.json").workload["features"]
    assert PAGE == page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_environment")
def test_without_windows_of_the_paper_it_says_what_to_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2: delphi is given windows of kind random."""
    lake = recorded_run(f"{tmp_path}/lake")
    given = recorded(lake, "tiny", 3)
    others = [
        replace(
            about,
            feature=replace(
                about.feature,
                contexts=tuple(context for context in about.feature.contexts if context.activating),
            ),
        )
        for about in given.posed
    ]
    monkeypatch.setattr(command, "recorded", lambda *_: replace(given, posed=tuple(others)))
    assert 2 == command.main(["--quick", "--lake", lake.uri])
    assert "{kind: random} in sample.negatives" in capsys.readouterr().err


def test_without_the_peers_environment_it_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2: half of a comparison is none."""
    lake = recorded_run(f"{tmp_path}/lake")
    assert 2 == command.main(["--quick", "--lake", lake.uri, "--peers", str(tmp_path / "none")])
    assert "make bench-peers" in capsys.readouterr().err


def test_windows_that_one_system_alone_judges_are_unequal() -> None:
    """As are those without a verdict in one of them."""
    ours = {(0, True): True, (1, False): False, (2, False): True}
    pair = compare.Pair(7, ours, {(0, True): True, (1, False): None})
    assert [(1, False), (2, False)] == pair.unequal


def test_only_a_mark_on_a_split_character_excuses_another_verdict() -> None:
    """Its first token has no text: where that is marked, systems show other texts; in detection nothing is marked."""
    strings = ("one", " ", "", "é", " two", " three", " four", " five")

    def split(name: str, fires: int) -> set[tuple[int, bool]]:
        activations = tuple(float(place == fires) for place in range(len(strings)))
        feature = Feature(7, 1.0, (Context(0, "activating", 0, strings, activations),))
        return compare.split_marks(next(case for case in CASES if case.name == name), feature)

    assert {(0, True)} == split("fuzzing", 2) == split("fuzzing", 3) == split("matched", 2)
    assert set() == split("fuzzing", 0) == split("matched", 4)
    assert set() == split("detection", 2)


@pytest.mark.usefixtures("_environment")
def test_another_verdict_of_detection_is_never_excused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though each window has a token without text: the bound is missed."""
    lake = recorded_run(f"{tmp_path}/lake")
    given = recorded(lake, "tiny", 3)
    posed = [
        replace(
            about,
            feature=replace(
                about.feature,
                contexts=tuple(
                    replace(
                        context,
                        strings=(*context.strings, "", "é"),
                        activations=(*context.activations, 0.0, 0.0),
                    )
                    for context in about.feature.contexts
                ),
            ),
        )
        for about in given.posed
    ]

    def turned(*args: Any, **options: Any) -> dict[str, Any]:
        reply = delphi(*args, **options)
        place, truth, verdict = reply["judged"][0][0]
        reply["judged"][0][0] = (place, truth, not verdict)
        return reply

    monkeypatch.setattr(command, "recorded", lambda *_: replace(given, posed=tuple(posed)))
    monkeypatch.setattr(child, "run", turned)
    assert 0 == command.main(["--quick", "--lake", lake.uri, "--json", str(tmp_path / "report.json")])
    report = Report.read(tmp_path / "report.json")
    assert (1, 0, 1) == tuple(
        report[f"detection_{name}"].value for name in ("unequal", "split", "unexplained")
    )
    assert not report.bounds["detection_unexplained"].met(report["detection_unexplained"])


def test_the_page_has_a_place_for_the_table() -> None:
    """Between two markers, once."""
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert (1, 1) == (text.count(command.BEGIN), text.count(command.END))
