"""The check of readers: asked before anything else is, counted and kept like any question, and never needed twice."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from flows import reader_check
from flows.cli.main import main
from flows.config import RunConfig
from flows.estimate.page import is_asked
from flows.estimate.requests import RequestCounter
from flows.estimate.tokenizers import reader_tokenizer
from flows.llm_stage import Findings, account_of, opened
from flows.optional_readers import optional
from flows.plan import STAGES, Plan
from flows.replay import replay
from flows.report_warnings import failed_checks, known_checks
from storage import runs
from storage.errors import RunFailed
from storage.layout import Range
from storage.tables import CONTEXTS, EXPLANATIONS, SAMPLES, TABLES
from tasks.llm.budget import Budget
from tests.flows.command import TINY, gloss
from tests.storage.sql.test_scores import record
from tests.tasks.llm.faulty_server import Answer, Body, Fault, FaultyServer, faulty_server, refusing_port
from tests.tasks.reader_check.test_questions import themes

SCORERS = [{"kind": "detection", "reader": "judge"}, {"kind": "discrimination", "reader": "judge"}]
SAMPLE = {**TINY["sample"], "negatives": [{"kind": "similar", "n": 20}]}
QUESTIONS = 4 + 5 + 6


class Judge:
    """A server's answers: right ones to all questions of a check, or the same to all."""

    def __init__(self, constant: str | None = None) -> None:
        self.constant = constant
        self.right: dict[str, str] = {}

    def __call__(self, _number: int, body: Body) -> Answer:
        if self.constant is not None:
            return self.constant
        return self.right.get(_asked(body), "EXPLANATION: Some words.")

    def learn(self, plan: Plan) -> None:
        """What is right in the checks of a plan."""
        for component in (item for check in plan.checks for item in check.components):
            for request in component.requests:
                if component.kind == "explanations":
                    answer = f"EXPLANATION: {themes()[int(request.key.split('/')[0])].explanation}"
                elif request.right is not None:
                    answer = str(request.right)
                else:
                    answer = json.dumps([int(truth) for truth in request.truths])
                self.right[request.messages[-1].text] = answer


def _asked(body: Body) -> str:
    return body["messages"][-1]["content"]


@dataclass
class Case:
    """A run with one endpoint for all."""

    server: FaultyServer
    judge: Judge
    folder: Path

    def data(self, **changes: object) -> dict[str, object]:
        reader = {"kind": "openai", "urls": [self.server.url], "model": "tiny", "patience": 0}
        reader |= {"prompt_price": 1.0, "completion_price": 2.0}
        asked = {"explainers": [{"kind": "exemplars", "reader": "judge"}], "scorers": SCORERS}
        return {
            **TINY,
            **asked,
            "lake": f"{self.folder}/lake",
            "sample": SAMPLE,
            "readers": {"judge": reader},
            "reader_check": True,
            **changes,
        }

    def plan(self, **changes: object) -> Plan:
        plan = Plan(RunConfig.model_validate(self.data(**changes)))
        self.judge.learn(plan)
        return plan

    def file(self, **changes: object) -> str:
        self.plan(**changes)
        path = self.folder / "run.yaml"
        path.write_text(yaml.safe_dump(self.data(**changes)), encoding="utf-8")
        return str(path)

    @property
    def asked(self) -> int:
        return len(self.server.questions)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    judge = Judge()
    with faulty_server(judge) as server:
        yield Case(server, judge, tmp_path)


def sampled(plan: Plan, features: int = 2) -> None:
    """Write contexts of some features, as sampling does."""
    (coder,), part = plan.coders, Range(0, features)
    contexts, samples = [], []
    for feature in range(features):
        known = {"coder": coder.coder.name, "feature": feature}
        samples.append(record(SAMPLES, **known, status="sampled", max=9.0, windows=8, windows_total=100))
        for number in range(16):
            active = number < 8
            strings = [f" w{feature}.{number}", " fires" if active else " rests"]
            shown = {
                "strings": strings,
                "activations": [0.0, 9.0 * active],
                "near": None if active else number,
            }
            about = {"decile": 0 if active else None, "role": "explain" if number < 4 else "score"}
            kind = "activating" if active else "similar"
            contexts.append(record(CONTEXTS, **known, **shown, **about, context=number, kind=kind))
    plan.lake.write(SAMPLES, coder.contexts.part("samples", part), SAMPLES.rows(samples))
    plan.lake.write(CONTEXTS, coder.contexts.part("contexts", part), CONTEXTS.rows(contexts))
    plan.lake.commit(coder.contexts, [part])


def explained(plan: Plan, text: str = "Some words.") -> None:
    """Write explanations of the sampled features, as explaining does."""
    for explaining in plan.explanations:
        (part,) = plan.lake.ranges(explaining.coder.contexts)
        known = {"coder": explaining.coder.coder.name, "explainer": explaining.explainer.name, "replicate": 0}
        rows = [
            record(EXPLANATIONS, **known, feature=feature, text=text, status="ok", chosen=True)
            for feature in range(*part)
        ]
        plan.lake.write(EXPLANATIONS, explaining.step.part("explanations", part), EXPLANATIONS.rows(rows))
        plan.lake.write(
            TABLES["requests"], explaining.step.part("requests", part), TABLES["requests"].empty()
        )
        plan.lake.commit(explaining.step, [part])


def answered(plan: Plan, stage: str) -> None:
    """Let the reader answer all that a stage would ask, and keep its replies, as a batch does."""

    async def go() -> None:
        async with opened(plan.config, ["judge"], Budget(), Findings()) as readers:
            for item in plan.explanations if stage == "explain" else plan.scores:
                await replay(plan, item, readers)

    asyncio.run(go())


def due(plan: Plan, *stages: str) -> list[str]:
    return [check.reader for check in asyncio.run(reader_check.due(plan, stages or STAGES))]


def ledger(plan: Plan) -> list[Mapping[str, object]]:
    """The request log of a plan's checks."""
    steps = [check.step for check in plan.checks]
    parts = [part for step in steps for part in plan.lake.parts(step, "requests")]
    return plan.lake.read("requests", parts).to_pylist()


def test_a_new_run_asks_its_reader_first_and_never_again(case: Case) -> None:
    """The questions are in the request log and the bill; another command finds their replies without a server."""
    plan = case.plan()
    assert ["judge"] == due(plan)
    (check,) = plan.checks
    result = asyncio.run(reader_check.ask(plan, check, Findings()))
    assert (QUESTIONS, []) == (case.asked, result.bad)
    assert all(item.faults == [] for item in result.results)

    rows = ledger(plan)
    assert {("check", "-", "judge", "ok", 1)} == {
        tuple(row[name] for name in ("stage", "coder", "reader", "status", "calls")) for row in rows
    }
    assert {"exemplars": 4, "detection": 5, "discrimination": 6} == {
        name: sum(row["component"] == name for row in rows)
        for name in {str(row["component"]) for row in rows}
    }
    assert sum(float(str(row["cost"])) for row in rows) == pytest.approx(account_of(plan).spent)
    assert account_of(plan).spent > 0

    again = case.plan()
    assert [] == due(again)
    assert check.step in again.recorded
    case.server.url = "http://127.0.0.1:1/v1"
    kept = asyncio.run(reader_check.kept(case.plan(), check))
    assert result == kept
    assert QUESTIONS == case.asked


def test_a_run_in_which_nothing_is_left_has_no_check(case: Case) -> None:
    """One that an older gloss finished, too: it stays complete, without a reader."""
    plan = case.plan()
    sampled(plan)
    explained(plan)
    for scoring in plan.scores:
        for step in (scoring.judgements, scoring.scores):
            (part,) = plan.lake.ranges(scoring.coder.contexts)
            for table in step.tables:
                plan.lake.write(TABLES[table], step.part(table, part), TABLES[table].empty())
            plan.lake.commit(step, [part])
    assert [] == due(plan)
    assert [] == due(plan, "score")
    assert not [step for step in plan.recorded if step.stage == "check"]
    assert 0 == case.asked


@pytest.mark.parametrize("stage", ["explain", "score"])
def test_a_stage_with_a_cached_reply_to_every_request_checks_no_reader(case: Case, stage: str) -> None:
    """Its reader need not be there; with one question more it is checked."""
    plan = case.plan()
    sampled(plan)
    if stage == "score":
        explained(plan)
    answered(plan, stage)
    assert 0 < case.asked
    assert [] == due(plan, stage)
    assert [] == due(plan)  # what later stages ask nobody can tell yet: they look themselves
    changed: dict[str, object] = (
        {"explainers": [{"kind": "exemplars", "reader": "judge", "temperature": 0.5}]}
        if stage == "explain"
        else {"scorers": [{"kind": "detection", "reader": "judge", "shown": 3}]}
    )
    other = case.plan(**changed)
    if stage == "score":
        explained(other)
    assert ["judge"] == due(other, stage)


def test_replies_that_are_not_kept_leave_a_reader_to_be_checked(case: Case) -> None:
    """All of its questions will be asked."""
    reader = {**case.data()["readers"]["judge"], "replies": "off"}  # type: ignore[index]
    plan = case.plan(readers={"judge": reader})
    sampled(plan)
    assert ["judge"] == due(plan, "explain")


def test_a_run_says_loudly_what_its_reader_cannot_do(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on; what is said comes with what to do. A second look asks and says nothing."""
    case.judge.constant = "[0, 0, 0, 0, 0]"
    plan = case.plan()
    asyncio.run(reader_check.check_readers_skill(plan, STAGES, Findings()))
    output = capsys.readouterr().err
    assert "readers.judge: asking 15 questions" in output
    assert re.search(
        r"WARNING: readers.judge, asked by detection: it always says 0; balanced accuracy 0.50", output
    )
    assert re.search(r"WARNING: readers.judge, asked by exemplars: 4 of 4 answers cannot be read \(", output)
    assert "--no-check" in output
    asked = case.asked
    asyncio.run(reader_check.check_readers_skill(plan, STAGES, Findings()))
    assert ("", asked) == (capsys.readouterr().err, case.asked)

    (checked,) = asyncio.run(known_checks(plan))
    assert asked == case.asked
    assert output.splitlines()[-4:] == failed_checks([checked])


def test_a_good_reader_is_told_in_two_lines(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """How much was right, beside chance."""
    asyncio.run(reader_check.check_readers_skill(case.plan(), STAGES, Findings()))
    lines = capsys.readouterr().err.splitlines()
    right = "exemplars 4 of 4, detection 1.00 (chance 0.50), discrimination 1.00 (chance 0.20)"
    assert [
        "readers.judge: asking 15 questions with known answers (reader_check)",
        f"readers.judge is right in its check: {right}",
    ] == [line for line in lines if "form" not in line]  # how replies are held is said once by whoever asks


def test_reader_check_false_asks_nothing(case: Case) -> None:
    """What a check has cost before stays in the plan."""
    plan = case.plan(reader_check=False)
    asyncio.run(reader_check.check_readers_skill(plan, STAGES, Findings()))
    assert 0 == case.asked
    (check,) = case.plan().checks
    asyncio.run(reader_check.ask(plan, check, Findings()))
    assert check.step in case.plan(reader_check=False).recorded


def test_a_budget_ends_a_check_too(case: Case) -> None:
    """What it has bought is kept: a larger budget goes on from there."""
    plan = case.plan(budget={"cost": 1e-4})
    with pytest.raises(RunFailed, match=r"budget\.cost"):
        asyncio.run(reader_check.check_readers_skill(plan, STAGES, Findings()))
    begun = case.asked
    assert begun < QUESTIONS
    larger = case.plan(budget={"cost": 1.0})
    asyncio.run(reader_check.check_readers_skill(larger, STAGES, Findings()))
    assert QUESTIONS == case.asked
    assert account_of(larger).spent == pytest.approx(sum(float(str(row["cost"])) for row in ledger(larger)))


def test_a_reader_that_answers_nothing_is_asked_again(tmp_path: Path) -> None:
    """Nothing is committed: a server that refused everything may be mended."""
    with faulty_server(lambda _, __: Fault.BAD_REQUEST) as server:
        case = Case(server, Judge(), tmp_path)
        plan = case.plan()
        (check,) = plan.checks
        result = asyncio.run(reader_check.ask(plan, check, Findings()))
        assert all(item.failed == item.questions for item in result.results)
        assert ["judge"] == due(plan)


def test_another_component_is_another_check_of_which_only_the_new_is_asked(case: Case) -> None:
    """Replies are kept by what was asked, whatever check it was in."""
    plan = case.plan()
    asyncio.run(reader_check.check_readers_skill(plan, STAGES, Findings()))
    more = case.plan(scorers=[*SCORERS, {"kind": "fuzzing", "reader": "judge"}])
    asyncio.run(reader_check.check_readers_skill(more, STAGES, Findings()))
    assert QUESTIONS + 5 == case.asked
    # The run has now one check, and all that was paid is in its log.
    assert QUESTIONS + 5 == sum(int(str(row["calls"])) for row in ledger(more))
    assert account_of(more).spent == pytest.approx(sum(float(str(row["cost"])) for row in ledger(more)))


def test_the_command_says_what_a_reader_can_do(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 for a good one, whose replies answer the same command without a server."""
    config = case.file()
    assert 0 == main(["check", config])
    table = capsys.readouterr().out
    assert "readers.judge (tiny): 15 questions" in table
    assert re.search(r"^ exemplars +4 +4 of 4 +0 +0 *$", table, re.MULTILINE)
    assert re.search(r"^ detection +5 +1\.00 \[0\.\d\d, 1\.00\] +0\.50 +0 *$", table, re.MULTILINE)
    assert "WARNING" not in table
    asked = case.asked

    with refusing_port() as url:
        case.server.url = url
        assert 0 == main(["check", case.file(), "--format", "json"])
        result = json.loads(capsys.readouterr().out)
    assert asked == case.asked
    (reader,) = result["readers"]
    assert ("judge", False) == (reader["reader"], reader["at_chance"])
    assert {"exemplars", "detection", "discrimination"} == {item["component"] for item in reader["asked_by"]}

    plan = case.plan()
    with plan.lake.connect() as connection:
        runs.create_views(plan.lake, connection, "tiny")
        counted = connection.sql("select count(*) from requests where stage = 'check'").fetchone()
    assert (QUESTIONS,) == counted


def test_the_command_ends_with_1_for_a_reader_at_chance(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red, with what it always says."""
    case.judge.constant = "3"
    assert 1 == main(["check", case.file()])
    output = capsys.readouterr().out
    assert re.search(r"discrimination +6 .* example 3 *$", output, re.MULTILINE)
    assert "WARNING: readers.judge, asked by exemplars" in output


def test_a_reader_that_is_not_there_is_a_wrong_request(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless it is optional; nothing is written."""
    with refusing_port() as url:
        case.server.url = url
        assert 2 == main(["check", case.file()])
    assert "readers.judge: " in capsys.readouterr().err
    assert not list((case.folder / "lake").rglob("*.*"))


def test_embedded_readers_are_not_checked(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """What the baseline reader can do is known, and it does not read hand-written explanations."""
    plain: dict[str, object] = {name: TINY[name] for name in ("explainers", "scorers", "readers", "sample")}
    assert 0 == main(["check", case.file(**plain)])
    assert "not checked, since they are no language models: readers.baseline" in capsys.readouterr().out


def test_an_estimate_counts_the_questions(case: Case) -> None:
    """As many as are asked, beside what explainers and scorers ask; done where they were."""
    plan = case.plan()
    (check,) = plan.checks
    asking = RequestCounter(plan, {"judge": reader_tokenizer(plan.config, "judge")}, [], optional(plan))
    line = asyncio.run(asking.check(check))
    assert (QUESTIONS, "check", False) == (line.bill.requests, line.component, line.done)
    asyncio.run(reader_check.ask(plan, check, Findings()))
    assert asyncio.run(asking.check(check)).done
    tokens = sum(int(str(row["prompt_tokens"])) for row in ledger(plan))
    assert 0.5 < line.bill.prompt / tokens < 2  # the server counts by another tokenizer


def test_an_estimate_leaves_out_what_a_run_would_not_ask(case: Case) -> None:
    """Where the check is off and was not done."""
    (check,) = case.plan().checks
    assert is_asked(case.plan(), check)
    assert not is_asked(case.plan(reader_check=False), check)
    asyncio.run(reader_check.ask(case.plan(), check, Findings()))
    assert is_asked(case.plan(reader_check=False), check)


def test_a_dry_run_names_the_check(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """To do, or done; none where it is off."""
    assert 0 == main(["run", case.file(), "--dry-run"])
    assert "to do  check    check " in capsys.readouterr().out
    assert 0 == main(["run", case.file(), "--dry-run", "--no-check"])
    assert " check " not in capsys.readouterr().out
    asyncio.run(reader_check.check_readers_skill(case.plan(), STAGES, Findings()))
    assert 0 == main(["explain", case.file(), "--dry-run"])
    assert "done   check    check " in capsys.readouterr().out


@pytest.mark.e2e
def test_a_run_checks_once_and_a_continuation_asks_nothing(case: Case, prefect: dict[str, str]) -> None:
    """The warning comes before the run is paid; `--no-check` asks none of these questions."""
    case.judge.constant = "EXPLANATION: Nothing.\n[1, 1, 1, 1, 1]"
    changes = {"scorers": SCORERS[:1], "sample": TINY["sample"], "features": {"choose": "sample", "n": 6}}
    config = case.file(**changes)
    first = gloss(["run", config], prefect)
    assert 0 == first.returncode, first.stderr
    assert "WARNING: readers.judge, asked by detection: it always says 1" in first.stderr
    assert "How the readers answered" in first.stdout
    questions = [_asked(body) for body in case.server.questions]
    (check,) = case.plan(**changes).checks
    known = {request.messages[-1].text for component in check.components for request in component.requests}
    assert known == set(questions[: len(known)])
    again = gloss(["run", config], prefect)
    assert (0, len(questions)) == (again.returncode, case.asked)

    other = gloss(["run", config, "--no-check", "--lake", f"{case.folder}/other"], prefect)
    assert 0 == other.returncode, other.stderr
    assert not known & {_asked(body) for body in case.server.questions[len(questions) :]}
