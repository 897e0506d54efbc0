"""README.md and docs/running.md: puts into them what a real `make demo` made.

`python docs/generate/readme.py LAKE` writes docs/demo-feature.txt, the best explained feature of the lake of `make
demo` with its scores and some evidence, and puts it into the README; `docs/demo.txt`, the end of that command's
output, goes into docs/running.md. Without a lake the texts stay as they are; `--check` only says whether the pages
have them.
"""

import argparse
import re
import sys
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import duckdb

from storage import runs
from storage.lake import Lake
from tasks.contexts.render import plain

ROOT = Path(__file__).parents[2]
BLOCKS = {"README.md": ("feature", "docs/demo-feature.txt"), "docs/running.md": ("demo", "docs/demo.txt")}
"""For each page the name of its block, and the file whose text is in it."""

WIDTH = 84
SHOWN = 62
"""Characters of a context."""
MARKED = 0.3
"""Tokens above this share of their context's peak are marked, as they are for readers."""

BEST = """
select coder, site, feature, firings, explainer, explanation, reader, count(*) over () as explained
from summary
where status = 'explained' and replicate = 0
order by score desc nulls last, feature
limit 1
"""
SCORES = """
select own.scorer, own.measure, own.score, own.low, own.high, floor.score
from scores as own
join scores as floor using (run, coder, feature, explainer, replicate, scorer)
where own.control = 'none' and floor.control = 'shuffled' and own.replicate = 0
    and own.coder = $coder and own.feature = $feature and own.explainer = $explainer
order by own.scorer
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
    """How many features were explained."""


def main() -> int:
    """Write the pages, or compare them with what is there."""
    parser = argparse.ArgumentParser(description="Put the demo into README.md and docs/running.md.")
    parser.add_argument("lake", nargs="?", metavar="LAKE", help="the lake of make demo, for another feature")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when they are not current")
    options = parser.parse_args()
    if options.lake is not None and not options.check:
        lake = Lake(options.lake)
        with lake.connect() as connection:
            runs.create_views(lake, connection)
            (ROOT / BLOCKS["README.md"][1]).write_text(feature(connection), encoding="utf-8")
    stale = []
    for name, (block, source) in BLOCKS.items():
        page, text = ROOT / name, (ROOT / source).read_text(encoding="utf-8")
        old = page.read_text(encoding="utf-8")
        new = filled(old, block, text)
        if new == old:
            continue
        stale.append(name)
        if not options.check:
            page.write_text(new, encoding="utf-8")
    if options.check and stale:
        sys.stderr.write(f"{' and '.join(stale)}: not what the demo made; run make docs\n")
    return int(options.check and bool(stale))


def filled(page: str, block: str, text: str) -> str:
    """A page with a text in its block of that name."""
    pattern = re.compile(rf"(<!-- {block}:.*?-->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}```text\n{text}```\n{match[2]}", page)


def feature(connection: duckdb.DuckDBPyConnection) -> str:
    """The best explained feature of the attached run: explanation, scores, and contexts with their verdicts."""
    row = connection.execute(BEST).fetchone()
    assert row is not None, "nothing is explained in this lake"
    best = Best(*row)
    key = {"coder": best.coder, "feature": best.feature, "explainer": best.explainer}
    lines = [
        f"feature {best.feature} of {best.coder} ({best.site}): {best.firings:,} firings; best of {best.explained}",
        *wrap(best.explanation, WIDTH, initial_indent="  ", subsequent_indent="  "),
        f"  {'scorer':<16} {'score':>5}  95 % interval  shuffled floor",
    ]
    for scorer, measure, score, low, high, floor in connection.execute(SCORES, key).fetchall():
        lines.append(
            f"  {scorer:<16} {score:>5.2f}  {low:.2f} to {high:.2f}   {floor:>14.2f}  {spelt(measure)}"
        )
    (_, firing, hits), (_, silent, rejections) = connection.execute(COUNTS, key).fetchall()
    alarms = silent - rejections
    lines += [
        f"  detection finds {hits} of {firing} contexts it fires on, and takes {alarms} of {silent} others for one",
        "",
        "  decile   verdict",
        *evidence(connection, key),
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


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


def spelt(measure: str) -> str:
    """A measure's name in prose."""
    return {"auroc": "AUROC"}.get(measure, measure.replace("_", " "))


if __name__ == "__main__":
    sys.exit(main())
