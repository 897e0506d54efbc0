"""A budget holds over every command that continues a run."""

import os
import signal
import time
from pathlib import Path

import pytest

from storage import runs
from storage.lake import Lake
from tests.flows.command import TINY, gloss, start, write_config
from tests.flows.test_estimate import PRICES, Counting
from tests.tasks.llm.faulty_server import faulty_server

IN_FLIGHT = 8


def _ledger(lake: Path) -> float:
    place = Lake(str(lake))
    with place.connect() as connection:
        runs.create_views(place, connection, "tiny")
        row = connection.sql("select sum(cost) from requests").fetchone()
    return float(row[0]) if row else 0.0


@pytest.mark.faults
def test_a_budget_is_not_paid_again(tmp_path: Path, prefect: dict[str, str]) -> None:
    """Several unfinished buckets, a kill, the same command twice, a larger budget: each reply is paid and counted once.

    But for those that a kill cut off: at most what was under way, and what had come in its last moment.
    """
    counting = Counting()
    with faulty_server(counting, delay=0.02) as server:
        judge = {"kind": "openai", "urls": [server.url], "model": "tiny", "in_flight": IN_FLIGHT, **PRICES}
        config = write_config(
            tmp_path,
            str(tmp_path / "lake"),
            explainers=[{"kind": "exemplars", "reader": "judge"}],
            # The second one asks the same: nothing of it is paid.
            scorers=[
                {"kind": "detection", "reader": "judge", "name": name} for name in ("detection", "again")
            ],
            readers={"judge": judge},
            runner={**TINY["runner"], "buckets_in_flight": 4},
        )
        killed = start(["run", str(config), "--set", "budget.cost=0.4"], prefect)
        while len(server.questions) < 120 and killed.poll() is None:
            time.sleep(0.01)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        begun = counting.cost
        stopped, spent = [], []
        for _ in range(2):
            stopped.append(gloss(["run", str(config), "--set", "budget.cost=0.4"], prefect))
            spent.append(counting.cost)
        twice = sum(times - 1 for times in counting.asked.values())
        ended = gloss(["run", str(config), "--set", "budget.cost=40"], prefect)

    assert 0 < begun < 0.4
    assert [1, 1] == [process.returncode for process in stopped], stopped[1].stderr
    assert 0 == ended.returncode, ended.stderr
    # What is under way fills the client's places and those of as many that have just answered, at the most.
    assert twice <= 4 * IN_FLIGHT
    dearest = 3 * counting.cost / sum(counting.asked.values())
    assert 0.98 * 0.4 < spent[0] < 1.02 * 0.4 + twice * dearest
    assert spent[0] == spent[1]
    assert twice == sum(times - 1 for times in counting.asked.values())
    assert counting.cost - twice * dearest <= _ledger(tmp_path / "lake") <= counting.cost + 1e-9
