"""A run judged again with 1, 5 and 20 contexts per question."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.readers import shown
from benchmarks.readers.cases import COMPARED
from benchmarks.readers.recorded import Recorded, recorded
from benchmarks.readers.tables import tables
from benchmarks.readers.tokens import counter
from benchmarks.report import Figure, Report
from storage.errors import RunFailed, WrongRequest
from tasks.llm.base import Reader
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.readers import AnyReader
from tasks.llm.request import Outcome, Prices, Reply, Request, Usage
from tasks.llm.token_count import BLOCK, Bill, PrefixCache, bill
from tests.benchmarks.readers.recorded_run import ACTIVATING, recorded_run
from tests.tasks.llm.faulty_server import Body, faulty_server, trial
from tests.tasks.llm.openai_replies import completion
from tests.tasks.toys import oracle

BASELINE = shown._READER.validate_python({"kind": "baseline"})


@dataclass(frozen=True)
class Told:
    """A config of a reader whose skill is known."""

    reader: Reader
    kind: str = "told"
    model_name: str | None = None
    prices: Prices = field(default_factory=Prices)

    def open(self) -> AbstractAsyncContextManager[Reader]:
        """The reader itself."""
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Reader]:
        yield self.reader

    async def check(self, _examples: object = ()) -> None:
        """It is always there."""


class Changed(Reader):
    """An oracle of whose outcomes each is changed."""

    def __init__(self, change: Callable[[Outcome], Outcome]) -> None:
        self._change = change

    async def ask(self, request: Request) -> Outcome:
        return self._change(await oracle().ask(request))


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Five features, in parts of two."""
    lake = recorded_run(tmp_path_factory.mktemp("lake").as_posix())
    return recorded(lake, "tiny", 200)


def judged(tiny_run: Recorded, reader: Reader, folder: Path) -> tuple[dict[str, float], dict[str, object]]:
    """What is measured with a reader of known skill."""
    return measured(tiny_run, cast("AnyReader", Told(reader)), folder)


def measured(
    tiny_run: Recorded, reader: AnyReader, folder: Path
) -> tuple[dict[str, float], dict[str, object]]:
    assert tiny_run.detection is not None
    figures, about = shown.figures(tiny_run, tiny_run.detection, reader, folder)
    assert len(figures) == len({figure.name for figure in figures})
    return {figure.name: figure.value for figure in figures}, about


def test_score_contexts_and_explanations_are_read(tiny_run: Recorded) -> None:
    """Those of the wanted features, from as few parts as hold them."""
    assert (5, 3) == (tiny_run.features, len(tiny_run.contexts))
    assert {2 * ACTIVATING} == {len(explanation.feature.contexts) for explanation in tiny_run.posed}
    assert ["The word own0.", "The word own1."] == [explanation.text for explanation in tiny_run.posed[:2]]


def test_some_features_are_enough(tmp_path: Path) -> None:
    """Parts after them are not opened."""
    lake = recorded_run(tmp_path.as_posix())
    subset = recorded(lake, "tiny", 2)
    assert (2, 1, 1) == (subset.features, len(subset.contexts), len(subset.samples))
    assert 3 == recorded(lake, "tiny", 3).features


def test_a_run_without_explanations_is_refused(tmp_path: Path) -> None:
    """It says what is missing."""
    lake = recorded_run(tmp_path.as_posix(), features=0)
    with pytest.raises(WrongRequest, match="holds no explanations"):
        recorded(lake, "tiny", 10)


def test_a_detection_with_its_own_prompt_is_not_asked(tmp_path: Path) -> None:
    """It is written for one number of contexts."""
    detection = {"kind": "detection", "reader": "baseline"}
    own = {**detection, "name": "own", "prompt": "own.txt"}
    lake = recorded_run(f"{tmp_path}/one", scorers=[own])
    assert recorded(lake, "tiny", 1).detection is None
    lake = recorded_run(f"{tmp_path}/two", scorers=[own, detection])
    chosen = recorded(lake, "tiny", 1).detection
    assert chosen is not None
    assert "detection" == chosen.name


def test_a_reader_that_judges_each_alone_is_as_good_with_any_number(
    tiny_run: Recorded, tmp_path: Path
) -> None:
    """The embedded baseline's verdict on a context does not depend on the others."""
    named, about = measured(tiny_run, BASELINE, tmp_path)
    for column in ("balanced_accuracy", "f1", "failed_share"):
        assert 1 == len({named[f"shown_{count}_{column}"] for count in COMPARED})
    assert [1, 0.2, 0.05] == [named[f"shown_{count}_requests_per_context"] for count in COMPARED]
    assert "counted by the subject's tokenizer" in str(about["tokens"])
    assert "5 features of tiny" == about["judged again"]


def test_known_judgements_have_the_known_worth(tiny_run: Recorded, tmp_path: Path) -> None:
    """Right with 1 and 5, always yes with 20: half of the classes, and F1 of 2/3."""

    def easily_tired(outcome: Outcome) -> Outcome:
        many = len(outcome.request.contexts) > 5
        return replace(outcome, reply=Reply(str([1] * 20))) if many else outcome

    named, _ = judged(tiny_run, Changed(easily_tired), tmp_path)
    assert [1, 1, 0.5] == [named[f"shown_{count}_balanced_accuracy"] for count in COMPARED]
    assert [1, 1, pytest.approx(2 / 3)] == [named[f"shown_{count}_f1"] for count in COMPARED]
    # Where all have the same score, ranks have no correlation.
    assert not [name for name in named if "spearman" in name]


def test_ranks_are_held_against_the_usual_number(tiny_run: Recorded, tmp_path: Path) -> None:
    """A reader that is the worse the later the feature ranks them alike with 1, and the other way round with 20."""

    def skilled(outcome: Outcome) -> Outcome:
        request = outcome.request
        feature = int(request.key.split("/")[0])
        mistaken = 4 - feature if len(request.contexts) == 20 else feature
        labels = [
            truth != (context < 4 * mistaken)
            for context, truth in zip(request.contexts, request.truths, strict=True)
        ]
        return replace(outcome, reply=Reply(str([int(label) for label in labels])))

    named, _ = judged(tiny_run, Changed(skilled), tmp_path)
    assert pytest.approx(1) == named["shown_1_spearman"]
    assert pytest.approx(-1) == named["shown_20_spearman"]
    assert "shown_5_spearman" not in named


def test_failures_are_told_and_are_no_score(tiny_run: Recorded, tmp_path: Path) -> None:
    """Of a reader that answers only about one context each."""

    def brief(outcome: Outcome) -> Outcome:
        several = len(outcome.request.contexts) > 1
        return replace(outcome, reply=Reply("The first two fit.")) if several else outcome

    named, _ = judged(tiny_run, Changed(brief), tmp_path)
    assert [0, 1, 1] == [named[f"shown_{count}_failed_share"] for count in COMPARED]
    assert 1 == named["shown_1_balanced_accuracy"]
    assert "shown_5_balanced_accuracy" not in named


def test_a_reader_that_gives_no_reply_is_not_measured(tiny_run: Recorded, tmp_path: Path) -> None:
    """It says what it got."""
    silent = Changed(lambda outcome: replace(outcome, reply=None, reason="500: overloaded"))
    with pytest.raises(RunFailed, match="500: overloaded"):
        judged(tiny_run, silent, tmp_path)


def test_tokens_are_those_that_the_reader_reports(tiny_run: Recorded, tmp_path: Path) -> None:
    """With the price that they have."""

    def counting(outcome: Outcome) -> Outcome:
        assert outcome.reply is not None
        usage = Usage(1000, 600, 10 * len(outcome.request.contexts))
        return replace(outcome, reply=replace(outcome.reply, usage=usage))

    priced = Told(Changed(counting), prices=Prices(prompt=1.0, completion=3.0, cached=0.5))
    named, about = measured(tiny_run, cast("AnyReader", priced), tmp_path)
    assert "as the reader reports them" == about["tokens"]
    for kind, values in {"prompt": [1000, 200, 50], "cached": [600, 120, 30], "completion": [10] * 3}.items():
        assert values == [named[f"shown_{count}_{kind}_tokens_per_context"] for count in COMPARED]
    costs = [named[f"shown_{count}_cost_per_1000_contexts"] for count in COMPARED]
    assert [pytest.approx(price) for price in (0.73, 0.17, 0.065)] == costs


def test_tokens_that_are_not_reported_are_counted(tiny_run: Recorded, tmp_path: Path) -> None:
    """As a server with the same tokenizer and a cache of blocks would, each number with an empty cache."""
    named, about = judged(tiny_run, oracle(), tmp_path)
    assert "its prefix cache modelled" in str(about["tokens"])
    assert not [name for name in named if "cost" in name]
    assert tiny_run.detection is not None
    tokenizer = counter(tiny_run.config, BASELINE).tokenizer
    for count in COMPARED:
        detection, cache, whole = (
            tiny_run.detection.model_copy(update={"shown": count}),
            PrefixCache(BLOCK),
            Bill(),
        )
        for posed in (shown._turned(posed, count) for posed in tiny_run.posed):
            for request in detection.requests(posed.key, posed.text, posed.feature):
                whole += bill(request, tokenizer, cache)
        assert 0 < whole.cached < whole.prompt
        contexts = 2 * ACTIVATING * tiny_run.features
        for kind in ("prompt", "cached", "completion"):
            counted = pytest.approx(getattr(whole, kind) / contexts)
            assert counted == named[f"shown_{count}_{kind}_tokens_per_context"]


def test_no_number_of_contexts_finds_what_another_left_in_the_cache(tiny_run: Recorded) -> None:
    """But the beginning that all questions about an explanation share."""
    assert tiny_run.detection is not None
    asked = [
        tiny_run.detection.model_copy(update={"shown": number}).requests(
            explanation.key,
            explanation.text,
            shown._turned(explanation, number).feature,
        )
        for number in (5, 20)
        for explanation in tiny_run.posed
    ]
    firsts = [[_first_example(request) for request in requests] for requests in asked]
    half = len(firsts) // 2
    shared = [set(few) & set(many) for few, many in zip(firsts[:half], firsts[half:], strict=True)]
    # One in five at random, where it would be every one in the same order.
    assert sum(map(len, shared)) < sum(map(len, firsts[half:])) / 2


def _first_example(request: Request) -> str:
    example = re.search(r"^Example 1: .*$", request.messages[-1].text, re.MULTILINE)
    assert example is not None
    return example[0]


def test_an_endpoint_is_asked_one_question_a_call(tiny_run: Recorded, tmp_path: Path) -> None:
    """So that it says how much of each was cached."""

    def replied(_number: int, body: Body) -> Body:
        if trial(body):
            return completion(body, "hello")
        assert isinstance(body["messages"][0], dict)
        examples = len(re.findall(r"^Example \d+: ", body["messages"][-1]["content"], re.MULTILINE))
        usage = {
            "prompt_tokens": 500,
            "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 400},
        }
        return completion(body, "1" if examples == 1 else str([1] * examples)) | {"usage": usage}

    with faulty_server(replied) as server:
        named, about = measured(tiny_run, OpenAIReader(urls=[server.url], model="tiny"), tmp_path)
    assert {"reader": "tiny", "tokens": "as the reader reports them"}.items() <= about.items()
    assert [400, 80, 20] == [named[f"shown_{count}_cached_tokens_per_context"] for count in COMPARED]
    assert [0.5] * 3 == [named[f"shown_{count}_balanced_accuracy"] for count in COMPARED]


def test_a_reader_is_described_in_a_file(tmp_path: Path) -> None:
    """What does not describe one is refused with what is wrong."""
    file = tmp_path / "reader.yaml"
    file.write_text("{kind: openai, urls: ['http://127.0.0.1:1/v1'], model: m, prompt_price: 2}")
    reader = shown.reader_in(file)
    assert isinstance(reader, OpenAIReader)
    assert 2 == reader.prompt_price
    file.write_text("{kind: openai, urls: ['http://127.0.0.1:1/v1']}")
    with pytest.raises(WrongRequest, match="model: Field required"):
        shown.reader_in(file)
    with pytest.raises(WrongRequest, match="cannot be read"):
        shown.reader_in(tmp_path / "none.yaml")


def test_the_table_has_a_row_for_each_number() -> None:
    """And a column for all that is known of any; intervals stand beside what has one."""
    values: dict[str, float] = {}
    for place, count in enumerate(COMPARED, start=1):
        values |= {
            f"shown_{count}_balanced_accuracy": place / 10,
            f"shown_{count}_balanced_accuracy_low": place / 20,
            f"shown_{count}_balanced_accuracy_high": place / 5,
            f"shown_{count}_requests_per_context": 1 / count,
        }
    values |= {
        "shown_1_spearman": 0.9,
        "shown_1_alone_contexts_per_second": 10,
        "shown_1_alone_cpu_ms_per_context": 2,
    }
    text = shown_text(values)
    assert "| contexts per question | balanced accuracy | rank correlation with 5 | requests |" in text
    assert "| 1 | 0.1 (0.05 to 0.2) | 0.9 | 1 |" in text
    assert "| 5 | 0.2 (0.1 to 0.4) |  | 0.2 |" in text
    assert "| 20 | 0.3 (0.15 to 0.6) |  | 0.05 |" in text
    assert "a verdict takes 2 ms of CPU at 10 per second" in text


def test_without_a_run_the_table_says_what_asking_costs() -> None:
    """And speaks of no interval."""
    text = shown_text({f"shown_{count}_cpu_ms_per_context": 1.0 for count in COMPARED})
    assert "| contexts per question | CPU ms |" in text
    assert "interval" not in text


@pytest.mark.parametrize("reader", ["baseline", "tiny"])
def test_that_the_baseline_cannot_differ_is_noted_of_the_baseline_alone(reader: str) -> None:
    """A language model can."""
    text = shown_text({f"shown_{count}_f1": 0.5 for count in COMPARED}, reader=reader)
    assert (reader == "baseline") == ("judges each context by itself" in text)


def shown_text(values: dict[str, Any], **workload: object) -> str:
    figures = tuple(Figure.of(name, [value]) for name, value in values.items())
    return "\n".join(tables(Report("readers", {}, figures, "", "", workload=workload)))
