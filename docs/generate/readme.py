"""README.md, docs/running.md and docs/readers.md: puts into them what `make demo` and `make demo-vllm` made.

`python docs/generate/readme.py LAKE` writes docs/demo-feature.txt from the run of `make demo`: its best explained
feature with scores and some evidence, and the order of its coders. That goes into the README; `docs/demo.txt`, the end
of the command's output, goes into docs/running.md, and `docs/demo-vllm.txt`, which `make demo-vllm SET=--write` wrote,
into docs/readers.md. Without a lake the texts stay as they are;
`--check` only says whether the pages have them.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import duckdb

from flows.coder_comparison import coder_comparisons, order
from flows.config import RunConfig
from flows.report_scores import lines
from flows.report_setup import ReportSetup, report_setup
from storage import query, runs
from storage.lake import Lake
from tasks.contexts.render import plain

ROOT = Path(__file__).parents[2]
RUN = "demo"
"""The run of `make demo`."""
FEATURE = "docs/demo-feature.txt"
BLOCKS = (
    ("README.md", "feature", FEATURE),
    ("docs/running.md", "demo", "docs/demo.txt"),
    ("docs/readers.md", "served", "docs/demo-vllm.txt"),
)
"""Pages, the names of their blocks, and the files whose texts are in them."""

WIDTH = 84
SHOWN = 62
"""Characters of a context."""
MARKED = 0.3
"""Tokens above this share of their context's peak are marked, as they are for readers."""

BEST = """
select coder, site, feature, firings, explainer, explanation, reader,
    count(*) over (partition by coder) as explained
from summary
where status = 'explained' and replicate = 0
order by low desc nulls last, score desc, feature
limit 1
"""
SCORES = """
select
    scorer,
    any_value(measure) filter (where control = 'none'),
    max(score) filter (where control = 'none') as own,
    max(low) filter (where control = 'none'),
    max(high) filter (where control = 'none'),
    max(score) filter (where control in ('shuffled', 'mixed')),
    max(score) filter (where control = 'unexplained'),
    max(q) filter (where control = 'none')
from tested
where replicate = 0 and coder = $coder and feature = $feature and explainer in ($explainer, '-')
group by explainer, scorer
having own is not null
order by explainer = '-', scorer
"""
EVIDENCE = """
select kind, decile, strings, activations, peak, verdict, verdict is not distinct from truth as is_right
from judgements
join contexts using (run, coder, feature, context)
where scorer = 'detection' and control = 'none' and replicate = 0
    and coder = $coder and feature = $feature and explainer = $explainer
qualify row_number() over (partition by coalesce(decile, 10), is_right order by context) = 1
order by coalesce(decile, 10), is_right desc
"""
COUNTS = """
select truth, count(*) as contexts, count(*) filter (where verdict = truth) as right_ones
from judgements
where scorer = 'detection' and control = 'none' and replicate = 0
    and coder = $coder and feature = $feature and explainer = $explainer
group by truth
order by truth desc
"""
DECILES = (0, 9, None)
"""Which contexts are shown: of some tenths of the feature's windows by peak, and silent ones."""


class Best(NamedTuple):
    """The best explained feature of a run."""

    coder: str
    site: str
    feature: int
    firings: int
    explainer: str
    explanation: str
    reader: str
    explained: int
    """How many features of its coder were explained."""


def main() -> int:
    """Write the pages, or compare them with what is there."""
    parser = argparse.ArgumentParser(description="Put a real run into README.md and docs/running.md.")
    parser.add_argument("lake", nargs="?", metavar="LAKE", help="the lake of make demo, for another feature")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when they are not current")
    options = parser.parse_args()
    if options.lake is not None and not options.check:
        (ROOT / FEATURE).write_text(of_run(Lake(options.lake), RUN), encoding="utf-8")
    stale = set()
    for name, block, source in BLOCKS:
        page, text = ROOT / name, (ROOT / source).read_text(encoding="utf-8")
        old = page.read_text(encoding="utf-8")
        new = filled(old, block, text)
        if new == old:
            continue
        stale.add(name)
        if not options.check:
            page.write_text(new, encoding="utf-8")
    if options.check and stale:
        sys.stderr.write(f"{' and '.join(sorted(stale))}: not what the runs made; run make docs\n")
    return int(options.check and bool(stale))


def of_run(lake: Lake, run: str) -> str:
    """The best explained feature of a run, and the order of its coders where it has several."""
    config = RunConfig.model_validate(runs.record(lake, run)["config"])
    with lake.connect() as connection:
        runs.create_views(lake, connection, run)
        text = feature(connection, {scorer.name: scorer.chance for scorer in config.scorers})
        coders = coder_order(connection, report_setup(config))
    return "\n".join([text, *coders, ""]) if coders else text


def coder_order(connection: duckdb.DuckDBPyConnection, setup: ReportSetup) -> list[str]:
    """The order of the attached run's coders, as its report has it; nothing where there is one."""
    scores: list[dict] = [dict(row) for row in query.records(connection, "report_scores")]
    comparisons = coder_comparisons(scores, lines(scores, [], setup))
    return order(comparisons) if comparisons else []


def filled(page: str, block: str, text: str) -> str:
    """A page with a text in its block of that name."""
    pattern = re.compile(rf"(<!-- {block}:.*?-->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}```text\n{text}```\n{match[2]}", page)


def feature(connection: duckdb.DuckDBPyConnection, chance: Mapping[str, float]) -> str:
    """The best explained feature of the attached run: explanation, scores, and contexts with their verdicts.

    `chance` holds that of each scorer.
    """
    row = connection.execute(BEST).fetchone()
    assert row is not None, "nothing is explained in this lake"
    best = Best(*row)
    key = {"coder": best.coder, "feature": best.feature, "explainer": best.explainer}
    shown = [
        f"feature {best.feature} of {best.coder} ({best.site}): {best.firings:,} firings; best of {best.explained}",
        *wrap(best.explanation, WIDTH, initial_indent="  ", subsequent_indent="  "),
        f"  {'scorer':<17} {'score':>5}  {'95 %':^12} chance  floor   none      q",
    ]
    for scorer, measure, score, low, high, floor, unexplained, q in connection.execute(
        SCORES, key
    ).fetchall():
        shown.append(
            f"  {scorer:<17} {score:>5.2f}  {low:.2f} to {high:.2f} {number(chance.get(scorer)):>6}"
            f"  {number(floor):>5}  {number(unexplained):>5}  {number(q, 3):>5}  {spelt(measure)}"
        )
    (_, firing, hits), (_, silent, rejections) = connection.execute(COUNTS, key).fetchall()
    alarms = silent - rejections
    shown += [
        f"  detection finds {hits} of {firing} contexts it fires on, and takes {alarms} of {silent} others for one",
        "  decile   verdict",
        *evidence(connection, key),
    ]
    return "".join(f"{line.rstrip()}\n" for line in shown)


def evidence(connection: duckdb.DuckDBPyConnection, key: dict[str, object]) -> list[str]:
    """One right and one wrong verdict of detection on contexts of each tenth that is shown."""
    rows = connection.execute(EVIDENCE, key).fetchall()
    lines = []
    for _, decile, strings, activations, peak, verdict, is_right in rows:
        if decile in DECILES:
            where = "silent" if decile is None else str(decile)
            shown = f"{'yes' if verdict else 'no':<3} {'' if is_right else '(wrong)':<7}"
            lines.append(f"  {where:<7}  {shown}  {excerpt(strings, activations, peak)}")
    return lines


def excerpt(strings: list[str], activations: list[float], peak: float) -> str:
    """A context on one line, cut around its strongest token; tokens that the feature fires on are in brackets."""
    pieces = [
        f"<<{plain(string)}>>" if peak > 0 and activation > MARKED * peak else plain(string)
        for string, activation in zip(strings, activations, strict=True)
    ]
    first = end = activations.index(peak) if peak > 0 else len(pieces) // 2
    while True:
        wider = (max(first - 1, 0), min(end + 1, len(pieces)))
        if wider == (first, end) or len("".join(pieces[slice(*wider)])) > SHOWN:
            return "".join(pieces[first:end]).strip()
        first, end = wider


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.{digits}f}"


def spelt(measure: str) -> str:
    """A measure's name in prose."""
    return {"auroc": "AUROC"}.get(measure, measure.replace("_", " "))


if __name__ == "__main__":
    sys.exit(main())
