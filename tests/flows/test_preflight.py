"""Which readers a run looks for before it begins, counted in what their servers are asked."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.config import RunConfig
from flows.plan import Plan
from flows.preflight import check_readers
from storage.errors import WrongRequest
from storage.layout import Range, Step
from storage.replies import REPLIES
from storage.tables import TABLES
from tests.flows.command import TINY
from tests.tasks.llm.faulty_server import Body, FaultyServer, faulty_server
from tests.tasks.llm.openai_replies import answered

PARTS = [Range(0, 10), Range(10, 20)]
SURPRISAL = {"kind": "surprisal", "reader": "judge"}


def planned(folder: Path, url: str, **changes: object) -> Plan:
    """The tiny run with a reader behind an endpoint, in an empty lake."""
    judge = {"kind": "openai", "urls": [url], "model": "tiny"}
    asking = {
        "explainers": [{"kind": "exemplars", "reader": "judge"}],
        "scorers": [{"kind": "detection", "reader": "judge"}],
        "readers": {"judge": judge},
    }
    return Plan(RunConfig.model_validate({**TINY, "lake": str(folder / "lake"), **asking, **changes}))


def make(plan: Plan, *steps: Step, commit: bool = True) -> None:
    """Write parts of some steps, without rows."""
    for step in steps:
        for part in PARTS:
            for table in step.tables:
                plan.lake.write(TABLES[table], step.part(table, part), TABLES[table].empty())
        if commit:
            plan.lake.commit(step, PARTS)


def make_all(plan: Plan) -> None:
    """Complete all that is asked for, and what it is asked about; the scores are not made."""
    make(
        plan,
        *(coder.contexts for coder in plan.coders),
        *(explanation.step for explanation in plan.explanations),
    )
    make(plan, *(scoring.judgements for scoring in plan.scores))


def look(plan: Plan, stages: Sequence[str] = ("explain", "score")) -> list[str]:
    return asyncio.run(check_readers(plan, stages))


def untouched(server: FaultyServer) -> bool:
    return not server.connections


def test_scores_alone_need_no_reader(tmp_path: Path) -> None:
    """Where a metric has changed everything is asked already, and the servers may be gone."""
    with faulty_server() as server:
        plan = planned(tmp_path, server.url)
        make_all(plan)
        assert plan.unfinished("score")
        look(plan)
        assert untouched(server)


def test_what_has_only_to_be_committed_needs_no_reader(tmp_path: Path) -> None:
    """A run that was killed after its last part has nothing left to ask."""
    with faulty_server() as server:
        plan = planned(tmp_path, server.url)
        make(plan, *(coder.contexts for coder in plan.coders))
        make(plan, *(explanation.step for explanation in plan.explanations), commit=False)
        make(plan, *(scoring.judgements for scoring in plan.scores), commit=False)
        look(plan)
        assert untouched(server)


def test_a_lost_part_needs_its_reader(tmp_path: Path) -> None:
    """It is asked for again."""
    with faulty_server() as server:
        plan = planned(tmp_path, server.url)
        make_all(plan)
        plan.lake.remove(plan.scores[0].judgements.part("judgements", PARTS[1]))
        look(plan, ["explain"])
        assert untouched(server)
        look(plan, ["score"])
        assert not untouched(server)


def test_only_what_unfinished_scorers_rely_on_is_tried(tmp_path: Path) -> None:
    """Once, however many coders and explainers they judge; what is judged already may be beyond the server by now."""
    twice = [{"kind": "exemplars", "reader": "judge", "name": name} for name in ("one", "other")]
    probable = {"kind": "detection", "reader": "judge", "logprobs": True}
    with faulty_server() as server:
        plan = planned(tmp_path, server.url, explainers=twice, scorers=[SURPRISAL, probable])
        make_all(plan)
        look(plan)
        assert [] == server.requests

        for scoring in plan.scores:
            if scoring.scorer.kind == "detection":
                plan.lake.remove(scoring.judgements.manifest)
                plan.lake.remove(scoring.judgements.part("judgements", PARTS[0]))
        look(plan)
        assert ["/v1/chat/completions"] == server.paths


@pytest.mark.parametrize("highest", [10, 9])
def test_a_tokenizer_that_splits_10_is_refused_for_simulation(tmp_path: Path, highest: int) -> None:
    """It is seen before the first question, in the tokens of an example; on a scale up to 9 it does not matter."""

    def behave(_number: int, body: Body) -> Body:
        whole = answered(body, lambda _body: "so")
        apart: list[Body | None] = []
        for place in whole["choices"][0]["prompt_logprobs"]:
            text = next(iter(place.values()))["decoded_token"] if place else ""
            pieces = ["\t", "1", "0"] if text.strip() == "10" else [text]
            apart += [{"7": {"logprob": -1.0, "rank": 1, "decoded_token": piece}} for piece in pieces]
        return whole | {"choices": [whole["choices"][0] | {"prompt_logprobs": apart}]}

    simulation = {"kind": "simulation", "reader": "judge", "highest": highest}
    with faulty_server(behave) as server:
        plan = planned(tmp_path, server.url, scorers=[simulation])
        make(plan, *(coder.contexts for coder in plan.coders), *(piece.step for piece in plan.explanations))
        if highest == 9:
            look(plan)
        else:
            with pytest.raises(WrongRequest, match=r"readers\.judge: .* takes 10 apart.*; set highest: 9"):
                look(plan)
        assert 1 == len(server.requests)


@pytest.fixture
def closed() -> str:
    """An address at which nobody listens."""
    with socket.socket() as item:
        item.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{item.getsockname()[1]}/v1"


def test_an_absent_reader_is_named_with_what_to_do(tmp_path: Path, closed: str) -> None:
    """In a lake without replies it is simply needed."""
    with pytest.raises(WrongRequest) as refused:
        look(planned(tmp_path, closed))
    message = str(refused.value)
    assert message.startswith(f"readers.judge: {closed} cannot be reached (connection refused)")
    assert message.endswith("start the server or correct urls")


def keep_a_reply(plan: Plan) -> None:
    """Let the lake have kept something, though nothing that is asked here."""
    plan.lake.write(REPLIES, "replies/0123/0000000000-0000000010-00.parquet", REPLIES.empty())


def test_a_reader_without_outstanding_requests_need_not_be_there(tmp_path: Path, closed: str) -> None:
    """It is reported: here there is no feature that anything could be asked about."""
    plan = planned(tmp_path, closed)
    make_all(plan)
    plan.lake.remove(plan.scores[0].judgements.manifest)
    plan.lake.remove(plan.scores[0].judgements.part("requests", PARTS[0]))
    keep_a_reply(plan)
    assert look(plan) == [
        "readers.judge is not there and not needed: the kept replies answer all that detection would ask"
    ]


def test_kept_replies_do_not_stand_for_a_reader_where_nobody_can_tell(tmp_path: Path, closed: str) -> None:
    """What is judged has to be explained first: the sentence says why the server is needed all the same."""
    plan = planned(tmp_path, closed)
    make_all(plan)
    plan.lake.remove(plan.explanations[0].step.manifest)
    plan.lake.remove(plan.scores[0].judgements.manifest)
    plan.lake.remove(plan.scores[0].judgements.part("requests", PARTS[0]))
    keep_a_reply(plan)
    with pytest.raises(WrongRequest) as refused:
        look(plan, ["score"])
    assert str(refused.value).endswith(
        "start the server or correct urls; detection may have more to ask than the replies that are kept"
    )


def test_one_url_of_several_may_be_away(tmp_path: Path, closed: str) -> None:
    """It is reported once for all stages, and the others are checked as usual; a wrong one among them is refused."""
    with faulty_server() as server, faulty_server(models=("other",)) as wrong:
        judge = {"kind": "openai", "urls": [closed, server.url], "model": "tiny"}
        plan = planned(tmp_path, "", readers={"judge": judge}, scorers=[SURPRISAL])
        lines = look(plan)
        assert ["/v1/completions"] == server.paths
        assert lines == [
            (
                f"readers.judge: {closed} cannot be reached (connection refused); the run goes on with its other urls, "
                "and uses these when they are back"
            )
        ]
        judge["urls"] += [wrong.url]
        with pytest.raises(WrongRequest, match=f"^readers.judge: {wrong.url} does not serve the model tiny"):
            look(planned(tmp_path, "", readers={"judge": judge}))
