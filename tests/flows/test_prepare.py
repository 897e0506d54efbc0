"""A run is prepared once per command, and each stage uses what was prepared."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from flows import cache, explain, preflight, run, sample, score
from flows.config import RunConfig
from flows.plan import STAGES, Plan
from flows.preflight import Prepared, hand_on, handed_on, prepare
from tests.flows.command import TINY, gloss, write_config


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """The tiny run."""
    return RunConfig.model_validate({**TINY, "lake": tmp_path.as_posix()})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each part of the preparation is done."""
    calls: Counter[str] = Counter()
    for name in ("without_absent", "check_cache", "check_choice", "check_text_models", "check_explainers"):
        _count(monkeypatch, calls, name)
    _count(monkeypatch, calls, "check_readers")
    return calls


def _count(monkeypatch: pytest.MonkeyPatch, calls: Counter[str], name: str) -> None:
    function = getattr(preflight, name)

    def counted(*arguments: object) -> object:
        calls[name] += 1
        return function(*arguments)

    monkeypatch.setattr(preflight, name, counted)


ONCE = Counter(
    (
        "without_absent",
        "check_cache",
        "check_choice",
        "check_text_models",
        "check_explainers",
        "check_readers",
    )
)


def test_all_stages_of_a_run_get_one_preparation(
    config: RunConfig, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optional readers, plan and preflight are worked out once, whether the command or the run flow does it."""
    given: dict[str, Prepared | None] = {}

    async def begin(stage: str, config: RunConfig) -> None:
        given[stage] = handed_on(config)
        await prepare(config, (stage,))  # as the flows of explain and score do

    async def skip(*_: object) -> None:
        """Ask no reader."""

    monkeypatch.setattr(run, "begin", begin)
    monkeypatch.setattr(run, "check_readers_skill", skip)
    for name in ("publish", "report"):
        monkeypatch.setattr(run, name, lambda *_: None)
    monkeypatch.setattr(run.run_record, "record_run", lambda _: None)

    asyncio.run(run.run.fn(config))

    assert list(STAGES) == list(given)
    (prepared,) = {id(prepared): prepared for prepared in given.values()}.values()
    assert prepared
    assert ONCE == calls

    with hand_on(Prepared(Plan(config))):
        asyncio.run(run.run.fn(config))
    assert ONCE == calls


def test_a_stage_alone_prepares_itself(config: RunConfig, calls: Counter[str]) -> None:
    """A deployment of one stage has nobody to hand anything on; another run's preparation is none of its."""
    other = config.model_copy(update={"run": "other"})
    with hand_on(Prepared(Plan(other))):
        assert handed_on(config) is None
        prepared = asyncio.run(prepare(config, ("explain",)))
    assert config == prepared.plan.config
    assert Counter(("without_absent", "check_explainers", "check_readers")) == calls


def test_every_stage_uses_what_is_handed_on(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is checked and nothing planned anew where the command has done it."""

    class Stop(Exception):
        """Ends a stage at its first question about the plan."""

    class Handed(Plan):
        def unfinished(self, *_: str) -> tuple:
            raise Stop

    handed = Handed(config)
    monkeypatch.setattr(preflight, "Plan", None)
    for module in (cache, sample):
        monkeypatch.setattr(module, "Plan", None)
    for module in (explain, score):
        monkeypatch.setattr(module.run_record, "record_run", lambda plan: plan.unfinished())
        monkeypatch.setattr(module, "check_readers_skill", lambda plan, *_: plan.unfinished())
    with hand_on(Prepared(handed)):
        for flow in (cache.cache, sample.sample):
            with pytest.raises(Stop):
                flow.fn(config)
        for flow in (explain.explain, score.score):
            with pytest.raises(Stop):
                asyncio.run(flow.fn(config))


def test_the_command_hands_its_preparation_through_prefect(tmp_path: Path, prefect: dict[str, str]) -> None:
    """How a coder fits is measured and reported once, though the cache is a flow run of its own."""
    ended = gloss(["run", str(write_config(tmp_path, str(tmp_path / "lake")))], prefect)
    assert 0 == ended.returncode, ended.stderr
    assert 1 == ended.stderr.count("features fire on the first"), ended.stderr
