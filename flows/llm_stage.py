"""A stage that asks readers: open them once, run its buckets some at a time, account for costs and record findings.

Every command tries a reader's servers anew, since they may have changed. `readers/<hash>.json`, one file for each
`identity` of a reader, records what was found out about them, so that a run that continues in another way than it
began reports it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from flows.config import RunConfig
from flows.plan import Explaining, Plan, Scoring
from flows.progress import Bar, progress, say
from storage import query
from storage.errors import Damaged
from storage.lake import Lake
from storage.layout import Range, Step
from storage.replies import ReplyStore, paid
from tasks.contexts.special_tokens import SpecialTokens
from tasks.controls import Controls
from tasks.explain import ExplainWork
from tasks.llm.base import Finding, Note, Reader
from tasks.llm.budget import Budget, BudgetedReader
from tasks.llm.openai.parameters import Parameters
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.reply_cache import CachingReader, identity_text
from tasks.llm.request import Prices
from tasks.llm.request_log import RequestOrigin
from tasks.score import ScoreWork

_RECORDED = frozenset({"form", "logprobs", "parameters"})
"""Findings that the lake keeps for later runs."""
_FORMS = {"plain": "without a form", "held": "held to a form"}


@dataclass
class Findings:
    """What a command has found out about its readers' servers; each stage opens its readers anew."""

    reported: set[str] = field(default_factory=set)
    """Lines that the user was shown."""
    parameters: dict[str, Parameters] = field(default_factory=dict)
    """Settings that the servers take, by reader."""

    def report(self, line: str) -> None:
        """Show a line to the user, once."""
        if line not in self.reported:
            self.reported.add(line)
            say(line)


def noting(config: RunConfig, name: str, reader: OpenAIReader, findings: Findings) -> Note:
    """Reports what is found out about a reader's servers, and records it in the lake."""
    lake, file = Lake(config.lake), path(reader)

    def note(finding: Finding) -> None:
        findings.report(f"readers.{name} {finding.line}")
        if finding.about == "parameters":
            findings.parameters[name] = Parameters.read(str(finding.value))
        if finding.about not in _RECORDED:
            return
        record = {"reader": reader.identity(), **_record(lake, file)}
        before = record.get(finding.about)
        if before not in (None, finding.value) and finding.about != "parameters":
            findings.report(_changed(name, finding, str(before)))
        if before != finding.value:
            lake.write_json(file, {**record, finding.about: finding.value})

    return note


def informed(name: str, reader: OpenAIReader, findings: Findings) -> OpenAIReader:
    """The reader with the settings that the same command has found its servers to take."""
    parameters = findings.parameters.get(name)
    if parameters is None:
        return reader
    return reader.model_copy(
        update={"max_tokens_key": parameters.max_tokens_key, "omit": sorted(parameters.omit)}
    )


def parameters(lake: Lake, reader: OpenAIReader) -> Parameters:
    """Settings that a reader's servers take, by its config and by what a run has found out."""
    text = _record(lake, path(reader)).get("parameters")
    recorded = Parameters.read(str(text)) if text else Parameters()
    key = reader.max_tokens_key or recorded.max_tokens_key
    return Parameters(key, reader.parameters.omit | recorded.omit)


def path(reader: OpenAIReader) -> str:
    """The file of the lake that holds what was found out about a reader's servers."""
    return f"readers/{sha256(identity_text(reader.identity()).encode()).hexdigest()[:16]}.json"


def _record(lake: Lake, file: str) -> dict[str, object]:
    """The recorded findings; none where the file cannot be read as JSON."""
    try:
        return lake.read_json(file) or {}
    except Damaged:
        return {}


def _changed(name: str, finding: Finding, before: str) -> str:
    what = "its replies" if finding.about == "form" else "its replies with log-probabilities"
    was, now = (_FORMS.get(way, f"held to a form by {way}") for way in (before, finding.value))
    return (
        f"readers.{name} has changed: {what} came {was} before in this lake, and now come {now};"
        " column structured of requests tells them apart"
    )


def explain_work(plan: Plan, explaining: Explaining) -> ExplainWork:
    """What one explainer's buckets need."""
    explainer, coder = explaining.explainer, explaining.coder
    asking = explainer.asking

    def ledger(component: str, reader: str) -> RequestOrigin:
        return asked(plan.config, coder.coder.name, "explain", component, reader)

    return ExplainWork(
        lake=plan.lake,
        coder=coder.coder.name,
        step=explaining.step,
        features=coder.features,
        contexts=coder.contexts,
        explainer=explainer,
        asked=ledger(explainer.name, asking.reader) if asking else None,
        judged=ledger(f"{explainer.name}/best_of", asking.chooser) if asking and asking.best_of else None,
        special=special_tokens(plan),
    )


def score_work(plan: Plan, scoring: Scoring) -> ScoreWork:
    """What one scorer's buckets need."""
    scorer, coder = scoring.scorer, scoring.coder.coder.name
    return ScoreWork(
        lake=plan.lake,
        coder=coder,
        explainer=scoring.explainer,
        judgements=scoring.judgements,
        scores=scoring.scores,
        contexts=scoring.coder.contexts,
        explanations=scoring.explaining.step if scoring.explaining else None,
        scorer=scorer,
        controls=Controls(**plan.config.controls.model_dump()),
        seed=plan.config.seed,
        asked=asked(plan.config, coder, "score", f"{scoring.explainer}/{scorer.name}", scorer.reader),
        special=special_tokens(plan),
    )


def special_tokens(plan: Plan) -> SpecialTokens:
    """The special tokens of the subject's tokenizer, from its files; by their form where these name none."""
    return SpecialTokens(plan.config.subject.special_tokens())


def special_tokens_note(plan: Plan) -> list[str]:
    """A line where no file names the special tokens."""
    subject = plan.config.subject
    if subject.special_tokens() is not None:
        return []
    line = (
        f"subject: no file of {subject.model}'s tokenizer that names special tokens is at hand; in contexts they "
        "are known by their form, such as <|im_end|>"
    )
    return [line]


def account_of(plan: Plan) -> Budget:
    """What the run has paid so far, and what it may spend in all.

    Its tables say what finished buckets have cost. The kept replies say that of others too, such as those that a kill
    cut off, but nothing of readers that keep none: neither is more than what was paid.
    """
    lake, budget = plan.lake, plan.config.budget
    steps = [step for step in plan.recorded if "requests" in step.tables]
    parts = sorted({part for step in steps for part in lake.written_parts(step, "requests")})
    spent = 0.0
    if parts:
        with lake.connect() as connection:
            spent = float(str(query.records(connection, "spent", requests=parts)[0]["spent"]))
    if any(prices(plan.config, name).known for name in plan.config.readers):
        spent = max(spent, paid(lake, plan.config.run, say))
    return Budget(budget.cost if budget else None, spent)


@asynccontextmanager
async def opened(
    config: RunConfig, names: Iterable[str], account: Budget, findings: Findings
) -> AsyncIterator[dict[str, Reader]]:
    """The readers of some names, opened once for all buckets, so that `in_flight` bounds them together."""
    async with AsyncExitStack() as stack:
        readers = {
            name: await stack.enter_async_context(_open(config, name, findings))
            for name in sorted(set(names))
        }
        # Only what is not kept already is paid for.
        yield {
            name: remembering(config, name, BudgetedReader(reader, prices(config, name), account))
            for name, reader in readers.items()
        }


def _open(config: RunConfig, name: str, findings: Findings) -> AbstractAsyncContextManager[Reader]:
    reader = config.readers[name]
    if isinstance(reader, OpenAIReader):
        return informed(name, reader, findings).open(noting(config, name, reader, findings))
    return reader.open()


def remembering(config: RunConfig, name: str, reader: Reader) -> Reader:
    """A reader as its config wants it: one whose replies are kept, or as it is."""
    described = config.readers[name]
    keeping = described.cached_replies
    if keeping == "off":
        return reader
    lake = Lake(config.lake)

    def shelf(identity: str, first: int, end: int) -> ReplyStore:
        return ReplyStore(lake, identity, Range(first, end), say)

    cost, failures = prices(config, name).cost, keeping == "keep_failures"
    return CachingReader(
        reader,
        described.identity(),
        config.run,
        shelf,
        cost,
        failures=failures,
        control_tokens=described.control_tokens,
    )


@asynccontextmanager
async def about(step: Step, part: Range, readers: Iterable[Reader]) -> AsyncIterator[None]:
    """Let readers keep and find replies about the features of a step's bucket meanwhile."""
    async with AsyncExitStack() as stack:
        for reader in readers:
            if isinstance(reader, CachingReader):
                await stack.enter_async_context(reader.about(*part, f"{step.stage}/{step.name}"))
        yield


async def each_bucket(
    title: str,
    lake: Lake,
    step: Step,
    parts: Sequence[Range],
    work: Callable[[Range], Awaitable[int]],
    at_once: int,
    account: Budget,
) -> None:
    """Run the missing buckets of a step, `at_once` at a time, and commit it; the progress bar shows their cost.

    Raises the first failure, after the buckets that were running have ended.
    """
    todo = lake.missing(step, parts)
    gate = asyncio.Semaphore(at_once)
    if todo:
        with progress(title, len(todo)) as bar:
            failures: list[BaseException] = []
            cost = _CostLine(bar, account)

            async def run_bucket(part: Range) -> None:
                async with gate:
                    # After a failure no bucket is started, but those that are running may finish.
                    if failures:
                        return
                    cost.running += 1
                    try:
                        await work(part)
                    except Exception as failure:
                        failures.append(failure)
                        raise
                    finally:
                        cost.running -= 1
                bar.advance()

            await asyncio.gather(*(run_bucket(part) for part in todo), return_exceptions=True)
            if failures:
                raise failures[0]
    lake.commit(step, parts)


class _CostLine:
    """The cost of a stage so far and what is likely still to come, shown next to its progress bar."""

    def __init__(self, bar: Bar, account: Budget) -> None:
        """Nothing of the stage is done or paid."""
        self.running = 0
        self._bar, self._account = bar, account
        self._spent, self._tokens = account.spent, account.tokens
        bar.beside = self.text

    def text(self) -> str:
        """`cost 1.23, about 4.56 to go`; tokens where nothing has a price, nothing where nobody counts."""
        cost, tokens = self._account.spent - self._spent, self._account.tokens - self._tokens
        # Buckets under way are taken to be half done.
        done, total = self._bar.done + self.running / 2, self._bar.total
        to_go = max(total / done - 1, 0.0) if 0 < self._bar.done < total else None
        if cost:
            return f"cost {cost:.2f}" + ("" if to_go is None else f", about {cost * to_go:.2f} to go")
        if tokens:
            return f"{tokens:,} tokens" + ("" if to_go is None else f", about {tokens * to_go:,.0f} to go")
        return ""


def prices(config: RunConfig, reader: str) -> Prices:
    """The prices of a reader; unknown for embedded ones."""
    return config.readers[reader].prices


def asked(config: RunConfig, coder: str, stage: str, component: str, reader: str) -> RequestOrigin:
    """What the requests of one component have in common."""
    return RequestOrigin(coder, stage, component, reader, prices(config, reader))
