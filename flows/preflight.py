"""Everything that can be found wrong with a request before anything is written.

Only what is still to be done is checked: a finished cache needs no model, a finished run no endpoint.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from flows.feature_selection import check
from flows.plan import Explaining, Plan, Scoring
from flows.progress import say_once
from flows.replay import MANY, unanswered
from flows.sample_requests import examples
from storage.errors import WrongRequest
from storage.layout import Step, addresses
from tasks.activations.config import Coder
from tasks.coders.base import SiteStatistics
from tasks.llm.openai.errors import EndpointRefused
from tasks.llm.openai.preflight import EndpointsAway
from tasks.llm.openai.preflight import preflight as look_at
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.readers import ReaderConfig
from tasks.llm.request import Reply, Request
from tasks.llm.sentence_transformers import SentenceModel
from tasks.scorers import Scorer
from tasks.scorers.base import Tries

if TYPE_CHECKING:
    from tasks.activations.fit_check import Fit

DOUBTFUL_FVU = 0.5
"""Above it a coder is not refused, as some are that bad, but its user is told."""
_ANSWERED: set[tuple[str, ...]] = set()
"""Lakes, readers and steps: what the kept replies answered once, they answer again."""


async def preflight(plan: Plan, stages: tuple[str, ...]) -> None:
    """Check what some stages need: corpus, subject, sites, coders, endpoints, lake.

    Raises `WrongRequest` with the first fault.
    """
    if "cache" in stages:
        await asyncio.to_thread(check_cache, plan)
    if "sample" in stages:
        check_choice(plan)
        await asyncio.to_thread(check_text_models, plan)
    if "explain" in stages:
        check_explainers(plan)
    for stage in stages:
        await _look(plan, stage)  # what there is to say the stage says when it begins, as with coders
    if plan.unfinished(*stages):
        plan.lake.check_writable()


def check_cache(plan: Plan) -> list[str]:
    """Load corpus, subject and coders, and try them out; returns a line on how each coder fits its site.

    Raises `WrongRequest` with the first fault.
    """
    if not plan.unfinished("cache"):
        return []
    # Local, since it loads torch, which a finished cache doesn't need.
    from tasks.activations import model_cache  # noqa: PLC0415

    config = plan.config
    model_cache.hold(addresses(coder.activations for coder in plan.coders), recorded_site_statistics(plan))
    fits = model_cache.try_out(config.subject, config.corpus, config.coders)
    lines = []
    for coder in config.coders:
        found = model_cache.hooked(config.subject, coder)
        check(config.features, found.coder.width, coder.name)
        lines.append(f"{coder.name} at {found.site}: {_fit(fits[coder.name])}")
    return lines


def _fit(fit: "Fit") -> str:
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
    if plan.embeddings and plan.unfinished("sample"):
        for kind in plan.embeddings:
            SentenceModel(kind.model, kind.revision).check()


async def check_readers(plan: Plan, stage: str) -> None:
    """Ask the readers of a stage whether they are there, and say, once, what is not there and not needed.

    Raises `WrongRequest` with the first that is needed and not there, or cannot be used. Only those are asked for whom
    there is something left: scores are derived without anyone.
    """
    for line in await _look(plan, stage):
        say_once(plan.config.lake, plan.config.run, line)


class _Asking(NamedTuple):
    """A step whose rows a reader gives."""

    reader: str
    step: Step
    component: str
    one: Explaining | Scoring


async def _look(plan: Plan, stage: str) -> list[str]:
    """Look for the readers of a stage; returns a line on each that is not there, or not with all its urls."""
    waiting: dict[str, list[_Asking]] = {}
    for asking in _asking(plan, stage):
        if _has_gaps(plan, asking):
            waiting.setdefault(asking.reader, []).append(asking)
    lines: list[str] = []
    for name, every in sorted(waiting.items()):
        # A scorer relies on the same thing whatever coder or explanation it judges.
        scorers = [asking.one.scorer for asking in every if isinstance(asking.one, Scoring)]
        relied = {request.digest: request for scorer in scorers for request in examples(scorer)}
        try:
            away = await _away(plan.config.readers[name], tuple(relied.values()), scorers)
        except EndpointsAway as error:
            lines.append(await _without(plan, name, every, error))
        except EndpointRefused as error:
            msg = f"readers.{name}: {error}{_more(plan, name, every)}"
            raise WrongRequest(msg) from error
        else:
            if away:
                back = "its other urls, and uses these when they are back"
                lines.append(f"readers.{name}: {'; '.join(away)}; the run goes on with {back}")
    return lines


def unfinished_askers(plan: Plan, stages: Sequence[str]) -> dict[str, list[Explaining | Scoring]]:
    """Explainers and scorers of some stages that have something left to do, by the reader that they ask."""
    found: dict[str, list[Explaining | Scoring]] = {}
    for asking in (asking for stage in stages for asking in _asking(plan, stage)):
        if _has_gaps(plan, asking):
            found.setdefault(asking.reader, []).append(asking.one)
    return found


def _asking(plan: Plan, stage: str) -> Iterator[_Asking]:
    if stage == "explain":
        for one in plan.explanations:
            for reader in dict.fromkeys(one.explainer.readers.values()):
                yield _Asking(reader, one.step, one.explainer.name, one)
    if stage == "score":
        for one in plan.scores:
            yield _Asking(one.scorer.reader, one.judgements, one.scorer.name, one)


def _has_gaps(plan: Plan, asking: _Asking) -> bool:
    """Whether a part is missing; where all are there, the step has only to be committed."""
    lake, step, contexts = plan.lake, asking.step, asking.one.coder.contexts
    if lake.complete(step):
        return False
    return not lake.complete(contexts) or bool(lake.missing(step, lake.ranges(contexts)))


async def _away(reader: ReaderConfig, relied: Sequence[Request], scorers: Sequence[Scorer]) -> list[str]:
    """Look for a reader; returns what is wrong with those of its urls that are not there. Raises as they do."""

    def unfit(example: Request, reply: Reply) -> str | None:
        trying = [scorer for scorer in scorers if isinstance(scorer, Tries)]
        asking = [one for one in trying if example.digest in {request.digest for request in examples(one)}]
        return next((why for one in asking if (why := one.unfit(example, reply))), None)

    if isinstance(reader, OpenAIReader):
        return await look_at(reader, relied, unfit)
    await reader.check()
    return []


async def _without(plan: Plan, reader: str, every: Sequence[_Asking], error: EndpointsAway) -> str:
    """A line that says that the kept replies do without a reader. Raises `WrongRequest` where they do not."""
    names = _names(every)
    steps = (plan.lake.uri, reader, *(asking.step.fingerprint for asking in every))
    left = 0 if steps in _ANSWERED else await unanswered(plan, reader, [asking.one for asking in every])
    if left == 0:
        _ANSWERED.add(steps)
        return f"readers.{reader} is not there and not needed: the kept replies answer all that {names} would ask"
    more = _more(plan, reader, every)
    if left:
        count = f"more than {MANY:,}" if left > MANY else f"{left:,}"
        more = f"; requests of {names} without a kept reply: {count}, which gloss batch can write into a file"
    msg = f"readers.{reader}: {error}{more}"
    raise WrongRequest(msg) from error


def _more(plan: Plan, reader: str, every: Sequence[_Asking]) -> str:
    """What a reader is needed for, where a run that has begun may be thought to have it all."""
    if getattr(plan.config.readers[reader], "replies", "off") == "off" or not plan.lake.files("replies"):
        return ""
    return f"; {_names(every)} may have more to ask than the replies that are kept"


def _names(every: Sequence[_Asking]) -> str:
    return ", ".join(dict.fromkeys(asking.component for asking in every))


def recorded_site_statistics(plan: Plan) -> dict[Coder, SiteStatistics]:
    """Statistics of sites that the lake holds, for the plan's coders that need statistics and whose cache has begun."""
    found = {}
    for coder in plan.coders:
        content = (
            plan.lake.read_json(_path(coder.activations)) if coder.coder.source.needs_statistics else None
        )
        if content is not None:
            found[coder.coder] = SiteStatistics(tuple(content["mean"]), tuple(content["deviation"]))
    return found


def record_site_statistics(
    plan: Plan, measured: Mapping[Coder, SiteStatistics]
) -> dict[Coder, SiteStatistics]:
    """Write those that the lake lacks; returns what it holds then, which another process may have written first.

    On another machine the same tokens give other last bits, and a coder must be the same for all of its shards: they
    are written when a cache begins and read by whoever continues it.
    """
    there = recorded_site_statistics(plan)
    for coder in plan.coders:
        statistics = measured.get(coder.coder)
        if statistics is not None and coder.coder not in there:
            plan.lake.write_json(_path(coder.activations), dict(statistics._asdict()))
    return recorded_site_statistics(plan)


def _path(activations: Step) -> str:
    return f"sites/{activations.address}.json"
