"""What comes from outside is only ever drawn by the terminal, never obeyed."""

import io
import logging
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from flows import terminal
from flows.cli.main import main
from flows.report import Report, show

TITLE = "\x1b]0;owned\x07"
CLEAR = "\x1b[2J"
HOSTILE = (
    TITLE,
    CLEAR,
    "\x9b2J",
    "\x9d0;owned\x9c",
    "\r\x08\x7f\x00",
    "\u202egnp.exe\u2066\u2069",
    "\u2028\u200b\ufeff",
    "\udcff",
)
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""What no sentence of gloss holds, but line breaks and tabs."""


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0.424, ".42"),
        (-0.07, "-.07"),
        (-0.001, ".00"),
        (0.999, "1.0"),
        (-1.0, "-1.0"),
        (None, ""),
        (1.3, "1.30"),
    ],
)
def test_shares_and_correlations_are_shown_without_their_zero(number: float | None, shown: str) -> None:
    """The same number in the same way wherever several stand side by side."""
    assert shown == terminal.short_number(number)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_terminal_obeys_is_shown_by_its_code(text: str) -> None:
    """Control characters of both sets, escape sequences, marks of direction and halves of surrogate pairs."""
    assert not FORBIDDEN.search(terminal.inert(text))
    assert terminal.inert(CLEAR) == "\\x1b[2J"


@pytest.mark.parametrize("text", ["naïve 日本語\u3000, a\u00a0b", "👩\u200d🔬", "tab\tand\nline", "[red]"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    """Scripts, wide spaces, joined emoji, line breaks and square brackets."""
    assert text == terminal.inert(text)


def test_a_sentence_has_one_line() -> None:
    """A second line could look like a message of gloss."""
    assert "a⏎gloss: done\\t" == terminal.one_line("a\ngloss: done\t")


def _drawn(*renderables: object, styled: bool = False) -> str:
    file = io.StringIO()
    console = terminal.console(
        file, width=60, force_terminal=styled, color_system="standard" if styled else None
    )
    console.print(*renderables)
    return file.getvalue()


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_console_escapes_in_whatever_a_text_stands(text: str) -> None:
    """In a string, a styled text, a padded one, a cell, a heading, a title and a caption."""
    grid = Grid(title=text, caption=text)
    grid.add_column(text)
    grid.add_row(text)
    grid.add_row(Text(text, "bold"))
    assert not FORBIDDEN.search(_drawn(text, Text(text), Padding(Text(text), 1), grid))


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_text_reaches_a_console_raw(text: str) -> None:
    """Any text at all, as a string and as a styled text."""
    assert not FORBIDDEN.search(_drawn(text, Text(text)))


def test_square_brackets_and_colons_are_plain_text() -> None:
    """Markup and names of emoji in an explanation neither colour nor link nor replace anything."""
    message = "[red]a[/] [link=https://x.example]b[/link] :smile:"
    assert f"{message}\n" == _drawn(message, styled=True)


def test_an_escaped_text_keeps_its_styles_where_they_were() -> None:
    """What is bold beside a control character is still what was bold."""
    text = Text.assemble("a\x1b", ("b\x1bc", "bold"), "d")
    assert "a\\x1b\x1b[1mb\\x1bc\x1b[0md\n" == _drawn(text, styled=True)


def test_a_table_is_as_wide_as_what_it_shows() -> None:
    """Escaped before it is measured: the lines of a grid end at one place."""
    grid = Grid()
    grid.add_row("\x1b\x1b\x1b")
    grid.add_row("x")
    assert 1 == len({len(line.rstrip("\n")) for line in _drawn(grid).splitlines() if line})


def test_errors_are_inert_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file's name in a refusal, an argument that argparse refuses."""
    assert main(["run", f"{tmp_path}/{CLEAR}\n[red].yaml"]) == 2
    refused = capsys.readouterr().err
    assert "\\x1b[2J⏎[red].yaml does not exist" in refused
    assert not FORBIDDEN.search(refused)
    with pytest.raises(SystemExit) as ended:
        main(["sql", "select 1", f"--{TITLE}"])
    assert ended.value.code == 2
    refused = capsys.readouterr().err
    assert "\\x1b]0;owned\\x07" in refused
    assert not FORBIDDEN.search(refused)


def test_what_libraries_log_and_warn_of_is_inert(caplog: pytest.LogCaptureFixture) -> None:
    """A server's words reach a log as arguments."""
    with terminal.guarded():
        logging.getLogger("library").warning("it said %s", CLEAR)
        warned = warnings.formatwarning(CLEAR, UserWarning, "file.py", 1, "")  # type: ignore[arg-type]
    assert ["it said \\x1b[2J"] == caplog.messages
    assert not FORBIDDEN.search(warned)
    assert logging.getLogRecordFactory() is logging.LogRecord


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_end_of_a_run_shows_what_readers_wrote_and_obeys_none_of_it(text: str) -> None:
    """Explanations, reasons and examples of failures, names in counts: each on its line."""
    message = f"{text}\n[bold]gloss: done"
    count = {"coder": message, "chosen": 2, "width": 2, "explained": 1, "skipped": 1, "failed": 0}
    skip = {"features": 1, "coder": message, "reason": message}
    best = {"coder": "c", "explainer": "e", "feature": 3, "firings": 4, "explanation": message}
    failure = {"failures": 1, "what": "verdict", "component": message, "example": message}
    result = Report(
        run="r",
        lake="lake",
        counts=[count],
        skipped=[skip],
        lines=[],
        best=[{**best, "scorers": [], "scores": [], "in_mean": 0, "score": 0.8, "low": None}],
        failures=[failure],
    )
    file = io.StringIO()
    show(result, terminal.console(file, width=400))
    shown = file.getvalue()
    assert not FORBIDDEN.search(shown)
    assert 5 == shown.count("⏎[bold]gloss: done")


NAMES = st.lists(st.text(st.sampled_from("abc_-.7é漢"), min_size=1, max_size=40), min_size=1, max_size=4)


@given(NAMES, st.sampled_from(["/", " "]), st.integers(1, 60))
def test_names_are_broken_between_their_parts(parts: list[str], separator: str, width: int) -> None:
    """Every line fits the width; a part is whole, or shortened on a line of its own where it is wider than a line."""
    lines = terminal.name_lines(separator.join(parts), width)

    assert [] == [line for line in lines if cell_len(line) > width]
    ended = "/" if separator == "/" else ""
    ends = [*([ended] * (len(parts) - 1)), ""]
    pieces = [f"{part}{end}" for part, end in zip(parts, ends, strict=True)]
    shown = [piece for line in lines for piece in re.findall(r"[^\s/]+/?", line)]
    if all(cell_len(piece) <= width for piece in pieces):
        assert pieces == shown


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    """The middle of a name says least: layers differ at the end."""
    assert "llama-la…layer-23" == terminal.shorten("llama-large-coder-of-layer-23", 17)
    assert "layer-23" == terminal.shorten("layer-23", 8)


def test_numbers_keep_their_columns_beside_long_names() -> None:
    """The column of names gives way, so that no number is broken; a longer title and caption wrap between words."""
    file = io.StringIO()
    grid = terminal.table(
        terminal.name_column("scorer"),
        *map(terminal.number_column, ("median", "floor", "margin")),
        title="Scores of the explanations of meta-llama-3.1-8b-instruct-layer-23-residual, with 95 % intervals",
    )
    interval = "0.71 [0.69, 0.73]"
    names = [f"llama-3.1-8b-instruct-layer-{layer}/exemplars/detection" for layer in (23, 24)]
    for name in names:
        grid.add_row(terminal.NameCell(name), *[interval] * 3)

    terminal.console(file, width=80).print(grid)

    lines = file.getvalue().splitlines()
    assert 80 >= max(map(len, lines))
    assert 2 == sum(line.count(interval) == 3 for line in lines)
    shown = [line.split()[0] for line in lines if interval in line]
    assert ["layer-23/", "layer-24/"] == [name[-9:] for name in shown]
    assert {"llama-3."} == {name[:8] for name in shown}
    assert ["-residual, with 95 %", "intervals"] == [lines[0].rstrip()[-20:], lines[1].rstrip()]
