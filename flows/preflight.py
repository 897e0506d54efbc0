"""The preparation of a run: everything that can be found wrong with a request before anything is written.

Only what is still to be done is checked: a finished cache needs no model, a finished run no endpoint. It is done once
per command and handed on to the stages with `hand_on`; a stage that runs alone prepares itself.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows import leases
from flows.config import RunConfig
from flows.feature_selection import check
from flows.llm_stage import Findings, special_tokens_note
from flows.optional_readers import without_absent
from flows.plan import Asker, Explaining, Plan, Scoring
from flows.progress import say
from flows.replay import MANY, unanswered
from flows.sample_requests import capability_requests, sample_requests
from storage.errors import WrongRequest
from storage.layout import Step, addresses
from tasks.activations.config import Coder
from tasks.coders.base import SiteStatistics
from tasks.llm.base import EndpointRefused
from tasks.llm.dispatch import ask_all
from tasks.llm.openai.preflight import EndpointsAway
from tasks.llm.openai.preflight import preflight as check_endpoints
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.readers import AnyReader
from tasks.llm.request import Reply, Request
from tasks.scorers import Scorer
from tasks.scorers.base import TriesReaders

if TYPE_CHECKING:
    from tasks.activations.fit_check import CoderFit

DOUBTFUL_FVU = 0.5
"""Above it a coder is not refused, as some are that bad, but its user is told."""


@dataclass(frozen=True)
class Prepared:
    """A run that was checked, for the stages that follow."""

    plan: Plan
    """Of the config without what absent optional readers would do."""
    findings: Findings = field(default_factory=Findings)
    """What the stages find out about the readers' servers."""


_handed_on: ContextVar[Prepared | None] = ContextVar("prepared run", default=None)


@contextmanager
def hand_on(prepared: Prepared) -> Iterator[None]:
    """Let the flows of the same run that are started meanwhile use what is prepared already."""
    token = _handed_on.set(prepared)
    try:
        yield
    finally:
        _handed_on.reset(token)


def handed_on(config: RunConfig) -> Prepared | None:
    """What the command or flow that starts this one has prepared; null for a stage that runs alone."""
    prepared = _handed_on.get()
    return prepared if prepared and prepared.plan.config == config else None


async def prepare(config: RunConfig, stages: tuple[str, ...]) -> Prepared:
    """What is handed on, or else prepared here: optional readers, the plan, the preflight, and a line on each finding.

    Raises `WrongRequest` before anything is written.
    """
    if prepared := handed_on(config):
        return prepared
    config, notes = await without_absent(config)
    plan = Plan(config)
    leases.check(plan)
    for line in [*notes, *await preflight(plan, stages)]:
        say(line)
    return Prepared(plan)


async def preflight(plan: Plan, stages: tuple[str, ...]) -> list[str]:
    """Check what some stages need: corpus, subject, sites, coders, endpoints, lake; returns lines for the user.

    They say how each coder fits its site, and which readers are not there and not needed. Raises `WrongRequest` with
    the first fault.
    """
    lines: list[str] = []
    if "cache" in stages:
        lines += await asyncio.to_thread(check_cache, plan)
    if "sample" in stages:
        check_choice(plan)
        await asyncio.to_thread(check_text_models, plan)
    if "explain" in stages:
        check_explainers(plan)
    lines += await check_readers(plan, stages)
    if any(unfinished_askers(plan, stages).values()):
        lines += special_tokens_note(plan)
    if plan.unfinished(*stages):
        plan.lake.check_writable()
    return lines


def check_cache(plan: Plan) -> list[str]:
    """Load corpus, subject and coders, and try them out; returns a line on how each coder fits its site.

    Raises `WrongRequest` with the first fault.
    """
    if not plan.unfinished("cache"):
        return []
    # Local, since it loads torch, which a finished cache doesn't need.
    from tasks.activations import model_cache  # noqa: PLC0415

    config = plan.config
    model_cache.evict_other_runs(
        addresses(coder.activations for coder in plan.coders), recorded_site_statistics(plan)
    )
    fits = model_cache.check_coders(config.subject, config.corpus, config.coders)
    lines = []
    for coder in config.coders:
        hooked = model_cache.loaded_coder(config.subject, coder)
        check(config.features, hooked.coder.width, coder.name)
        lines.append(f"{coder.name} at {hooked.site}: {_fit(fits[coder.name])}")
    return lines


def _fit(fit: "CoderFit") -> str:
    declared = f" (declared {fit.declared_l0:g})" if fit.declared_l0 else ""
    firing = f", {fit.firing:,} of {fit.width:,} features fire on the first {fit.tokens:,} tokens"
    if fit.fvu is None:
        return f"L0 {fit.l0:.1f}{declared}{firing}; it reconstructs nothing that could be compared"
    doubtful = fit.fvu > DOUBTFUL_FVU and not fit.baseline
    doubt = "; that is much: is it the right site?" if doubtful else ""
    return f"FVU {fit.fvu:.3f}, L0 {fit.l0:.1f}{declared}{firing}{doubt}"


def check_choice(plan: Plan) -> None:
    """Check the choice of features against finished caches. Raises `WrongRequest` when one has too few."""
    for coder in plan.coders:
        manifest = plan.lake.manifest(coder.features)
        if manifest is not None:
            check(plan.config.features, manifest.rows["features"], coder.coder.name)


def check_explainers(plan: Plan) -> None:
    """Check what explainers need apart from readers, such as files. Raises `WrongRequest` with the first fault."""
    for explaining in plan.explanations:
        if not plan.lake.complete(explaining.step):
            explaining.explainer.check([explaining.coder.coder.name])


def check_text_models(plan: Plan) -> None:
    """Load the models that sampling looks for similar text with. Raises `WrongRequest` when one cannot be had."""
    if plan.embedding_models and plan.unfinished("sample"):
        for model in plan.embedding_models.values():
            model.check()


async def check_readers(plan: Plan, stages: Sequence[str]) -> list[str]:
    """Check that the readers of some stages are there; a line on each that is not, or not with all its urls.

    Raises `WrongRequest` with the first that is needed and not there, or cannot be used. Only readers with outstanding
    requests are looked for: scores are derived without any.
    """
    lines = [line for stage in stages for line in await _check_stage_readers(plan, stage)]
    return [*dict.fromkeys(lines)]


async def _check_stage_readers(plan: Plan, stage: str) -> list[str]:
    lines: list[str] = []
    for reader, askers in sorted(unfinished_askers(plan, (stage,)).items()):
        # A scorer relies on the same thing whatever coder or explanation it judges.
        scorers = [asker.scorer for asker in askers if isinstance(asker, Scoring)]
        trials = {request.digest: request for scorer in scorers for request in capability_requests(scorer)}
        explainers = [asker.explainer for asker in askers if isinstance(asker, Explaining)]
        samples = [
            sample.request
            for sample in sample_requests(explainers, scorers, own_prompts=True)
            if sample.reader == reader
        ]
        try:
            away = await _away(plan.config.readers[reader], tuple(trials.values()), samples, scorers)
        except EndpointsAway as error:
            lines.append(await _not_needed(plan, reader, askers, error))
        except EndpointRefused as error:
            msg = f"readers.{reader}: {error}{_may_ask_more(plan, reader, askers)}"
            raise WrongRequest(msg) from error
        else:
            if away:
                back = "its other urls, and uses these when they are back"
                lines.append(f"readers.{reader}: {'; '.join(away)}; the run goes on with {back}")
    return lines


def unfinished_askers(plan: Plan, stages: Sequence[str]) -> dict[str, list[Asker]]:
    """Explainers and scorers of some stages that have something left to ask, by reader."""
    by_reader: dict[str, list[Asker]] = {}
    for asker in plan.askers(*stages):
        if _has_gaps(plan, asker):
            for reader in asker.readers:
                by_reader.setdefault(reader, []).append(asker)
    return by_reader


def _has_gaps(plan: Plan, asker: Asker) -> bool:
    """Whether a part is missing; where all are there, the step has only to be committed."""
    lake, step, contexts = plan.lake, asker.asks_for, asker.coder.contexts
    if lake.complete(step):
        return False
    return not lake.complete(contexts) or bool(lake.missing(step, lake.ranges(contexts)))


async def _away(
    reader: AnyReader, trials: Sequence[Request], samples: Sequence[Request], scorers: Sequence[Scorer]
) -> list[str]:
    """Look for a reader; returns what is wrong with those of its urls that are not there. Raises as they do.

    Servers are asked the trials, and so is a language model in this process, whose tokenizer must also take the
    samples.
    """

    def unfit(example: Request, reply: Reply) -> str | None:
        trying = [scorer for scorer in scorers if isinstance(scorer, TriesReaders)]
        concerned = [
            scorer
            for scorer in trying
            if example.digest in {request.digest for request in capability_requests(scorer)}
        ]
        return next((reason for scorer in concerned if (reason := scorer.unfit(example, reply))), None)

    if isinstance(reader, OpenAIReader):
        return await check_endpoints(reader, trials, unfit)
    await reader.check([*trials, *samples])
    if reader.language_model and any(isinstance(scorer, TriesReaders) for scorer in scorers):
        async with reader.open() as opened:
            outcomes = await ask_all(opened, trials)
        for outcome in outcomes:
            if outcome.reply and (reason := unfit(outcome.request, outcome.reply)):
                raise EndpointRefused(reason)
    return []


async def _not_needed(plan: Plan, reader: str, askers: Sequence[Asker], error: EndpointsAway) -> str:
    """A line that says that the cached replies do without a reader. Raises `WrongRequest` where they do not."""
    names = _names(askers)
    left = await unanswered(plan, reader, askers)
    if left == 0:
        return f"readers.{reader} is not there and not needed: the kept replies answer all that {names} would ask"
    more = _may_ask_more(plan, reader, askers)
    if left:
        count = f"more than {MANY:,}" if left > MANY else f"{left:,}"
        more = f"; requests of {names} without a kept reply: {count}, which gloss batch can write into a file"
    msg = f"readers.{reader}: {error}{more}"
    raise WrongRequest(msg) from error


def _may_ask_more(plan: Plan, reader: str, askers: Sequence[Asker]) -> str:
    """What a reader is needed for, where a run that has begun may be thought to have it all."""
    if plan.config.readers[reader].cached_replies == "off" or not plan.lake.files("replies"):
        return ""
    return f"; {_names(askers)} may have more to ask than the replies that are kept"


def _names(askers: Sequence[Asker]) -> str:
    return ", ".join(dict.fromkeys(asker.name for asker in askers))


def recorded_site_statistics(plan: Plan) -> dict[Coder, SiteStatistics]:
    """Statistics of sites that the lake holds, for the plan's coders that need statistics and whose cache has begun."""
    statistics = {}
    for coder in plan.coders:
        content = (
            plan.lake.read_json(_path(coder.activations)) if coder.coder.source.needs_statistics else None
        )
        if content is not None:
            statistics[coder.coder] = SiteStatistics(tuple(content["mean"]), tuple(content["deviation"]))
    return statistics


def record_site_statistics(
    plan: Plan, measured: Mapping[Coder, SiteStatistics]
) -> dict[Coder, SiteStatistics]:
    """Write those that the lake lacks; returns what it holds then, which another process may have written first.

    On another machine the same tokens give other last bits, and a coder must be the same for all of its shards: they
    are written when a cache begins and read by whoever continues it.
    """
    recorded = recorded_site_statistics(plan)
    for coder in plan.coders:
        statistics = measured.get(coder.coder)
        if statistics is not None and coder.coder not in recorded:
            plan.lake.write_json(_path(coder.activations), dict(statistics._asdict()))
    return recorded_site_statistics(plan)


def _path(activations: Step) -> str:
    return f"sites/{activations.address}.json"
