"""`make demo-vllm`: demo-vllm.yaml against a vLLM server of its own on a CPU, and what server and tables say of it.

The converted subject is served by `deployments/vllm/explainer.sh`. With `--kill` the server is killed once while it is
asked, and started again. Options after these are those of `gloss run`. What is printed at the end: per component the
requests, how many failed or were cut off and how replies were held to their form; what explanations failed for; mean
scores; control tokens as the server sees them; tokens by the request log and by the server's own counters.
"""

import argparse
import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request as Post
from urllib.request import urlopen

from flows import terminal
from flows.cli import table_view
from flows.config import RunConfig
from flows.config_file import load_config
from flows.plan import Plan
from flows.replay import replay
from storage import runs
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Request
from tasks.model_files.causal_model import CausalModelFiles

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / "docs" / "demo-vllm.txt"
CONFIG = "deployments/demo/demo-vllm.yaml"
ADDRESS = "http://127.0.0.1:8000"
NAME = "smollm2"
"""What the server calls the model, as in the config."""
FLAGS = (
    *("--served-model-name", NAME, "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "8192"),
    *("--block-size", "32", "--max-num-seqs", "16"),
)
"""Beside those of the script: for a CPU, whose own blocks of 128 tokens leave short prompts out of the cache."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
}
JUDGE = "judge"
"""The reader behind the server."""
TOKENISED = 300
"""Prompts, about as many, that the server is asked to tokenise."""
PATIENCE = 600
"""Seconds that a server has to start in."""
KILLED_AFTER = 20
"""Requests that the server has answered when it is killed."""
COUNTERS = {
    "prompt tokens": "prompt_tokens_total",
    "completion tokens": "generation_tokens_total",
    "looked up in the prefix cache": "prefix_cache_queries_total",
    "found there": "prefix_cache_hits_total",
    "requests": "request_success_total",
}
"""The server's own names of what it counts."""

COMPONENTS = """
select
    regexp_extract(component, '[^/]*$') as asks,
    count(*) as n,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where finish_reason = 'length') as cut,
    coalesce(string_agg(distinct structured, ', '), '') as form,
    sum(prompt_tokens)::bigint as prompt,
    sum(cached_tokens)::bigint as cached,
    sum(completion_tokens)::bigint as reply
from requests
where attempts > 0 and stage {stage} 'check'
group by asks
order by asks
"""
EXPLANATIONS = """
select status, coalesce(regexp_replace(reason, '( in the reply| '').*', ''), '') as why, count(*) as explanations
from explanations
group by all
order by explanations desc, status, why
"""
"""What became of explanations; reasons without what they quote."""
SCORES = """
select
    scorer,
    count(score) filter (where control = 'none') as features,
    avg(score) filter (where control = 'none') as score,
    avg(score) filter (where control in ('shuffled', 'mixed')) as floor,
    avg(score) filter (where control = 'unexplained') as unexplained
from scores
group by scorer
order by scorer
"""
LOGGED = """
select
    count(*) as "requests",
    sum(prompt_tokens)::bigint as "prompt tokens",
    sum(completion_tokens)::bigint as "completion tokens",
    sum(cached_tokens)::bigint as "found there"
from requests
where attempts > 0 and endpoint like 'http%'
"""
"""The request log's part of `COUNTERS`."""


class Server:
    """A vLLM server that is started by the repository's script, and can be killed."""

    def __init__(self, model: str, log: Path) -> None:
        """Nothing runs yet."""
        self._model, self._log = model, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises `RuntimeError` where it does not."""
        command = [str(ROOT / "deployments" / "vllm" / "explainer.sh"), self._model, *FLAGS]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (the repository's own script)
                command, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(URLError, OSError), urlopen(f"{ADDRESS}/health", timeout=5):  # noqa: S310  (loopback)
                return
            time.sleep(1)
        msg = f"vLLM did not start; its log is {self._log}"
        raise RuntimeError(msg)

    def kill(self) -> None:
        """End all of its processes at once, as a machine that fails would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)

    def counters(self) -> Counter[str]:
        """What it has counted since it was started, by the names of `COUNTERS`."""
        with urlopen(f"{ADDRESS}/metrics", timeout=30) as answer:  # noqa: S310  (loopback)
            return counted(answer.read().decode())

    def tokens(self, **asked: object) -> list[int]:
        """The tokens that it makes of a prompt or of messages."""
        body = json.dumps({"model": NAME, **asked}).encode()
        post = Post(f"{ADDRESS}/tokenize", data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        with urlopen(post, timeout=120) as answer:  # noqa: S310  (loopback)
            return json.load(answer)["tokens"]


def counted(metrics: str) -> Counter[str]:
    """Counters of a Prometheus page, summed over their labels, by the names of `COUNTERS`."""
    sums: Counter[str] = Counter()
    for name, metric in COUNTERS.items():
        values = re.findall(rf"^vllm:{metric}(?:{{[^}}]*}})? ([\d.e+]+)$", metrics, re.MULTILINE)
        sums[name] = round(sum(map(float, values)))
    return sums


class Recorder(Reader):
    """Answers nothing and keeps every request."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self.requests: list[Request] = []

    async def ask(self, request: Request) -> Outcome:
        """Keep a request."""
        self.requests.append(request)
        return Outcome(request, None, "nobody was asked", "", "", attempts=0, latency=0.0)


def main() -> int:
    """Serve, run, compare, stop."""
    parser = argparse.ArgumentParser(description="Run demo-vllm.yaml against a vLLM server of its own.")
    parser.add_argument("--kill", action="store_true", help="kill the server once, and start it again")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as gloss run has it")
    parser.add_argument("--log", type=Path, default=Path("vllm.log"), help="where the server writes its log")
    parser.add_argument("--write", action="store_true", help="write what it says at its end into the docs")
    options = parser.parse_args()
    config = load_config(CONFIG, tuple(options.set))
    server = Server(CausalModelFiles(config.subject.model).folder(), options.log)
    print(f"starting vLLM on {ADDRESS}, whose log is {options.log}", flush=True)
    try:
        server.start()
        before = server.counters()
        code = run_beside(server, options.set, killed=options.kill)
        if code in (0, 1):  # 1: nothing was explained, which says much of the reader
            text = report(config, server, None if options.kill else server.counters() - before)
            print(f"\n{text}", end="")
            if options.write:
                WRITTEN.write_text(text, encoding="utf-8")
        return code
    finally:
        server.kill()


def run_beside(server: Server, settings: list[str], *, killed: bool) -> int:
    """Run the pipeline, and kill the server in its middle where it is to be."""
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    command = [sys.executable, "-m", "flows.cli", "run", CONFIG, *arguments]
    with subprocess.Popen(command, cwd=ROOT) as process:  # noqa: S603  (its own command)
        while killed and process.poll() is None:
            answered = server.counters()["requests"]
            if answered >= KILLED_AFTER:
                server.kill()
                print(f"vLLM was killed after {answered} requests, and is started again", flush=True)
                server.start()
                break
            time.sleep(1)
        return process.wait()


def report(config: RunConfig, server: Server, counters: Counter[str] | None) -> str:
    """What the tables and the server say, in 80 columns."""
    plan, written = Plan(config), terminal.console(io.StringIO(), width=80)
    with plan.lake.connect() as connection:
        runs.create_views(plan.lake, connection, config.run)
        for title, query in {
            "requests of explainers and scorers": COMPONENTS.format(stage="!="),
            "requests of the reader check": COMPONENTS.format(stage="="),
            "explanations": EXPLANATIONS,
            "mean scores": SCORES,
        }.items():
            written.print(f"{title}\n")
            table_view.show_answer(connection.sql(query), written)
            written.print()
        logged = connection.sql(LOGGED)
        sums = dict(zip(logged.columns, logged.fetchone() or (), strict=True))
    if counters:
        written.print("request log, server's counters")
        for name, value in sums.items():
            written.print(f"  {name}: {value or 0:,}, {counters[name]:,}")
        share = counters["found there"] / max(1, counters["looked up in the prefix cache"])
        written.print(f"prompt tokens from the prefix cache, as the server counts them: {share:.0%}")
    wrong, asked = asyncio.run(foreign_control_tokens(plan, server))
    written.print(
        f"prompts with control tokens beside those of their turns, as it reads them: {wrong} of {asked}"
    )
    return "".join(f"{line.rstrip()}\n" for line in written.file.getvalue().splitlines())  # type: ignore[attr-defined]


async def foreign_control_tokens(plan: Plan, server: Server) -> tuple[int, int]:
    """How many of the run's prompts have other control tokens than those of their turns, of how many."""
    recorder = Recorder()
    for asker in [*plan.explanations, *plan.scores]:
        if set(asker.readers) == {JUDGE}:
            await replay(plan, asker, {JUDGE: recorder}, again=True)
    files = CausalModelFiles(plan.config.subject.model)
    special = set(files.tokenizer().all_special_ids)
    own = files.control_tokens() or ()
    asked = [
        part.without_control_tokens(own)
        for request in recorder.requests
        for part in request.parts or (request,)
    ]
    chosen = asked[:: max(1, len(asked) // TOKENISED)]
    return sum(has_foreign(server, request, special) for request in chosen), len(chosen)


def has_foreign(server: Server, request: Request, special: set[int]) -> bool:
    """Whether a server finds other control tokens in a request than those of its turns."""

    def control_tokens(**asked: object) -> Counter[int]:
        return Counter(token for token in server.tokens(**asked) if token in special)

    if request.prompt is not None:
        return bool(control_tokens(prompt=request.prompt, add_special_tokens=False))
    turns = [{"role": turn.role, "content": turn.text} for turn in request.messages]
    return control_tokens(messages=turns) != control_tokens(
        messages=[turn | {"content": "x"} for turn in turns]
    )


if __name__ == "__main__":
    sys.exit(main())
