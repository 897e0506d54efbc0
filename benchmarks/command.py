"""What every benchmark's command has in common: its options, its exit codes, where its report goes."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, page
from benchmarks.report import Report
from storage.errors import RunFailed, WrongRequest

PLAIN = ("quick", "real", "device", "threads")
"""Options that a report shows, where a benchmark has them; the others are paths."""


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks take."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    made.add_argument("--quick", action="store_true", help="small sizes, some minutes; leaves the page alone")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where models run (cpu)")
    made.add_argument("--threads", type=int, default=machine.cores(), help="of each system (all cores)")
    made.add_argument(
        "--from", dest="report", type=Path, metavar="FILE", help="measure nothing: write the page again"
    )
    return made


def typed(name: str, options: argparse.Namespace, defaults: argparse.ArgumentParser) -> str:
    """The command without its paths."""
    given = [f"python -m benchmarks.{name}"]
    for option in PLAIN:
        value = getattr(options, option, None)
        if value != defaults.get_default(option):
            given.append(f"--{option}" if value is True else f"--{option} {shlex.quote(str(value))}")
    return " ".join(given)


def today() -> str:
    """The day, in UTC."""
    return datetime.now(UTC).date().isoformat()


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Report],
    tables: page.Tables,
    write: Callable[[Report], None] | None = None,
) -> int:
    """Measure, print the section, write report and page; a full run writes the page, a quick one doesn't.

    The page is docs/benchmarks.md, unless `write` puts the tables elsewhere. Returns the exit code: 2 for what cannot
    be done as asked, 1 for a run that failed.
    """
    try:
        report = Report.read(options.report) if options.report else measure(options)
    except WrongRequest as error:
        say(str(error))
        return 2
    except RunFailed as error:
        say(str(error))
        return 1
    print(page.section(report, tables))
    if options.json:
        options.json.write_text(report.text, encoding="utf-8")
    if not options.quick:
        page.write(report, tables) if write is None else write(report)
    return 0


def arguments(made: argparse.ArgumentParser, given: Sequence[str] | None) -> argparse.Namespace:
    """What was typed. Raises `SystemExit` with code 2 for what no option is."""
    options = made.parse_args(given)
    if options.threads < 1:
        made.error(f"--threads {options.threads} runs nothing; give at least 1")
    return options
